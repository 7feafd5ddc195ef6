// SPDX-License-Identifier: Apache-2.0
// Which sessions a command asks: options that eval suite, items and board share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/cairn/model_options.h"
#include "apps/cairn/options.h"
#include "cairn/base/result.h"
#include "cairn/eval/suite.h"

namespace cairn::cli {

// A value.
struct SessionOptions {
  ModelOptions model;
  std::vector<std::string> tasks;           // empty: all; "none": none
  std::vector<std::uint32_t> contexts;      // empty: 512, 1024, 2048, ... as far as the model goes, at most 8192
  std::optional<std::uint32_t> sessions{};  // of each task and context
  std::optional<std::uint32_t> turns{};
  std::uint64_t seed = 1;
  bool quick = false;  // smaller defaults for what is not given
  std::string form;    // "chat" or "plain"; empty: chat where the model file has a chat template
};

// `contexts`: which are asked where none are given, for the help.
void add_session_options(CLI::App& command, SessionOptions& options,
                         const std::string& contexts = "512, 1024, ... as far as the model goes, at most 8192");

// Settings for a model of this context. Errors: kInvalidArgument (no chat template where one is asked for, no such
// task), kTooLong, those of ChatTemplate::of_model.
Result<eval::SuiteSettings> suite_settings(const SessionOptions& options, std::uint32_t model_context);

}  // namespace cairn::cli

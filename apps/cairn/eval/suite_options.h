// SPDX-License-Identifier: Apache-2.0
// What the user asks `cairn eval suite` for, checked.
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

// Which sessions.
struct SessionOptions {
  ModelOptions model;
  std::vector<std::string> tasks;           // empty: all; "none": none
  std::vector<std::uint32_t> contexts;      // empty: 512, 1024, 2048, ... as far as the model goes, at most 8192
  std::optional<std::uint32_t> sessions{};  // of each task and context
  std::optional<std::uint32_t> turns{};
  std::uint64_t seed = 1;
  bool quick = false;  // smaller defaults for what is not given
};

struct SuiteOptions : SessionOptions {
  std::vector<std::string> recipes = {"raw_f16+evict=0.5"};  // beside the exact cache
  std::vector<std::string> data;
  unsigned jobs = 0;
  std::string out;
  bool no_controls = false;
  bool json = false;
};

void add_session_options(CLI::App& command, SessionOptions& options);
void add_suite_options(CLI::App& command, SuiteOptions& options);

// Settings for a model of this context. Errors: kInvalidArgument, kTooLong.
Result<eval::SuiteSettings> suite_settings(const SessionOptions& options, std::uint32_t model_context);

// The exact cache first, none twice. Errors: those of parse_recipe.
Result<std::vector<EvalRecipe>> suite_recipes(const SuiteOptions& options);

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
// A run of the suite by a command: where its results go, real sessions, and the answering itself with a journal. eval
// suite and eval board share it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apps/cairn/eval/session_options.h"
#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/eval/result_json.h"
#include "cairn/eval/suite.h"

namespace cairn::cli {

// A value.
struct SuiteRunOptions : SessionOptions {
  std::vector<std::string> data;
  unsigned jobs = 0;
  std::string out;
  bool no_controls = false;
  bool json = false;
};

// `files`: what --out writes, for its help.
void add_run_options(CLI::App& command, SuiteRunOptions& options, const std::string& files);

// Results must not be lost at the end for want of a place.
Status check_output(const std::string& out, std::span<const std::string_view> suffixes);

// Completes a plan that has settings and contenders: its cells, with the sessions of the data files, less what cannot
// be asked. Says on standard error what is left out. Errors: those of the data files, kInvalidArgument (nothing is
// left), those of check_contenders().
Status complete_plan(const SuiteRunOptions& options, const Engine& engine, eval::SuiteRunSettings& plan);

// Answers all cells, with a bar; with --out also with a journal, from which the same command goes on. Errors: those of
// SuiteJournal::open and run_suite().
Result<std::vector<eval::AnsweredCell>> answer_plan(const SuiteRunOptions& options, const eval::SuiteRunSettings& plan,
                                                    const eval::Json& head, std::unique_ptr<Engine> engine);

}  // namespace cairn::cli

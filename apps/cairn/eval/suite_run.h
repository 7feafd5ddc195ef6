// SPDX-License-Identifier: Apache-2.0
// Answers the cells of a run, several at once, and keeps a journal.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apps/cairn/eval/suite_journal.h"
#include "apps/cairn/eval/suite_options.h"
#include "cairn/base/result.h"
#include "cairn/eval/suite.h"
#include "cairn/eval/suite_summary.h"

namespace cairn::cli {

// Everything that decides the answers.
struct SuiteRunSettings {
  std::vector<Contender> contenders;
  SuiteSettings settings;
  std::map<std::string, std::vector<Session>> data;  // sessions of data files, by the task name of their cells
  std::vector<Cell> cells;
  std::vector<std::string> left_out;  // "S6 at 512": what cannot be asked with this tokenizer
};

struct SuiteResources {
  ModelOptions model;
  unsigned jobs = 1;  // workers, each with weights of its own
  unsigned threads_per_job = 1;
};

// As many jobs as were asked for, or as threads and free memory allow.
SuiteResources suite_resources(const SuiteOptions& options, Engine& engine, std::uint32_t longest_context);

// `engine` is used where one job suffices, and freed otherwise. The answers in the order of plan.cells, which does not
// depend on jobs, threads or earlier interruptions. `journal` may be nullptr. Errors: those of run_session; kCancelled
// on Ctrl-C, with how much is done.
Result<std::vector<AnsweredCell>> run_suite(const SuiteRunSettings& plan, const SuiteResources& resources,
                                            std::unique_ptr<Engine> engine, SuiteJournal* journal);

}  // namespace cairn::cli

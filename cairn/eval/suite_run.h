// SPDX-License-Identifier: Apache-2.0
// A run of the suite: what can be asked, and the loop that answers it, several cells at once, with a journal.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/eval/suite.h"
#include "cairn/eval/suite_journal.h"

namespace cairn::eval {

// Cells of the data sessions, in each contender's place of the report order. They carry the longest context of the run.
void add_data_cells(SuiteRunSettings& plan);

// Cells that cannot be asked with this tokenizer leave the plan before anything is computed. Gives a line about each
// task and context that did, as plan.left_out names them. kInvalidArgument when nothing is left.
Result<std::vector<std::string>> leave_out_impossible(SuiteRunSettings& plan, const Tokenizer& tokenizer);

// Finds recipes that this model cannot follow, and a budget in which a session cannot live. Errors: those of
// JudgedEngine::make, kOutOfBudget.
Status check_contenders(const SuiteRunSettings& plan, std::uint64_t kv_budget_bytes, const Engine& engine);

struct SuiteRunControl {
  // An engine for one worker, called from its thread.
  std::function<Result<std::unique_ptr<Engine>>()> load;
  unsigned workers = 1;
  std::uint64_t kv_budget_bytes = 0;
  std::function<void(double share)> on_progress{};  // one call at a time
  const std::atomic<bool>* cancel = nullptr;
};

// `engine` is used where one worker suffices, and freed otherwise. The answers in the order of plan.cells, which does
// not depend on workers, threads or earlier interruptions. `journal` may be nullptr. Errors: those of control.load and
// run_session, kIo of the journal; kCancelled says how much is done.
Result<std::vector<AnsweredCell>> run_suite(const SuiteRunSettings& plan, const SuiteRunControl& control,
                                            std::unique_ptr<Engine> engine, SuiteJournal* journal);

}  // namespace cairn::eval

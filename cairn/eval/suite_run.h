// SPDX-License-Identifier: Apache-2.0
// A run of the suite: what can be asked, and the loop that answers it, several cells at once, with a journal.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/eval/result_json.h"
#include "cairn/eval/suite.h"

namespace cairn::eval {

// Cells of the data sessions, in each contender's place of the report order. They carry the longest context of the run.
void add_data_cells(SuiteRunSettings& plan);

// Cells that cannot be asked with this tokenizer leave the plan before anything is computed. Gives a line about each
// task and context that did, as plan.left_out names them. kInvalidArgument when nothing is left.
Result<std::vector<std::string>> leave_out_impossible(SuiteRunSettings& plan, const Tokenizer& tokenizer);

// Finds recipes that this model cannot follow, and a budget in which a session cannot live. Errors: those of
// JudgedEngine::make, kOutOfBudget.
Status check_contenders(const SuiteRunSettings& plan, std::uint64_t kv_budget_bytes, const Engine& engine);

// Thread-compatible. Holds a lock on the file: two runs cannot write to one journal.
class SuiteJournal {
 public:
  // Begins a journal, or reads what one holds. `head` says what run it is: a journal with another head is refused.
  // A line that a killed run left half written is cut off; other lines that do not read are passed over and counted.
  // Errors: kIo, kCorrupt (no journal), kInvalidArgument (of another run; the message names what differs).
  static Result<std::unique_ptr<SuiteJournal>> open(const std::string& path, const Json& head);
  ~SuiteJournal();

  // By key, what append got; nullptr when there is nothing.
  const Json* find(const std::string& key) const;
  std::size_t size() const { return done_.size(); }
  std::size_t broken_lines() const { return broken_lines_; }

  // On the disk's way when this returns. kIo when it cannot be written.
  Status append(const std::string& key, Json value);

 private:
  SuiteJournal() = default;
  Status read(const std::string& text, const Json& head);
  Status write_line(const Json& line);

  std::string path_;
  std::FILE* file_ = nullptr;
  std::map<std::string, Json> done_;
  std::size_t broken_lines_ = 0;
  std::size_t good_bytes_ = 0;  // up to the end of the last whole line
};

// Names a cell within a journal.
std::string cell_key(const SuiteRunSettings& plan, const Cell& cell);

Json answered_json(const AnsweredCell& answered);
// Nothing when the JSON is not what answered_json writes.
std::optional<AnsweredCell> answered_from_json(const Json& json, const Cell& cell);

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

// SPDX-License-Identifier: Apache-2.0
// What a run of the suite has answered so far, on disk: a line for its head, then one for each session.
#pragma once

#include <cstddef>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "cairn/base/result.h"
#include "cairn/eval/result_json.h"
#include "cairn/eval/suite.h"

namespace cairn::eval {

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

}  // namespace cairn::eval

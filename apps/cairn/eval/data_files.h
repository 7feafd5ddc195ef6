// SPDX-License-Identifier: Apache-2.0
// Real sessions from files: SQuAD JSON (XQuAD among them), passkey JSON lines as KIVI publishes them, SCBench JSON
// lines.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/eval/session.h"
#include "cairn/text/tokenizer.h"

namespace cairn::cli {

struct DataLimits {
  std::uint32_t context_tokens = 0;  // a session with its questions and answers fits into so many
  std::uint32_t sessions = 0;        // at most, spread over the file
  std::uint32_t turns = 0;           // at most, of each session
};

struct DataSessions {
  std::string name;  // of the file, without folder and suffix
  std::vector<Session> sessions;
  std::string note;  // one line on what was left out or cut to fit; empty if nothing
};

// The format is recognised by the fields: {"data": [{"paragraphs": ...}]}, or per line {"input", "target"} or
// {"context", "multi_turns": [{"input", "answer", "options"?}]}. A passkey's haystack is cut around the needle to fit;
// other sessions that do not fit are left out. Errors: those of read_text; kCorrupt (no JSON, or none of these formats;
// the message says where), kTooLong (not one session fits).
Result<DataSessions> load_data(const std::string& path, const Tokenizer& tokenizer, const DataLimits& limits);

}  // namespace cairn::cli

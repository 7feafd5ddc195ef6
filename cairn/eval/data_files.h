// SPDX-License-Identifier: Apache-2.0
// Real sessions from files: SQuAD JSON (XQuAD among them), passkey JSON lines as KIVI publishes them, SCBench JSON
// lines, and JSON lines of a context with one question each.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/eval/chat_form.h"
#include "cairn/eval/session.h"
#include "cairn/text/tokenizer.h"

namespace cairn::eval {

struct DataLimits {
  std::uint32_t context_tokens = 0;        // that a session with its questions and answers fits into
  std::uint32_t sessions = 0;              // at most, spread over the file
  std::uint32_t turns = 0;                 // at most, of each session
  std::shared_ptr<const ChatForm> chat{};  // null: the plain form
};

struct DataSessions {
  std::string name;  // of the file, without folder and suffix
  std::vector<EvalSession> sessions;
  std::string note;  // one line on what was left out or cut to fit; empty if nothing
};

// The sessions of `text`, which the file `path` holds. The format is recognised by the fields: {"data": [{"paragraphs":
// ...}]}, or per line {"input", "target"} or {"context", "multi_turns": [{"input", "answer", "options"?}]} or
// {"context", "question", "answer", "kind"?}; a question of this last form that holds "Answer:" stands as it is, and
// what follows begins the answer. A passkey's haystack is cut around the needle to fit; other sessions that do not fit
// are left out. Errors: kCorrupt (no JSON, or none of these formats; the message says where), kInvalidArgument (a name
// of the task table), kTooLong (not one session fits).
Result<DataSessions> parse_data(const std::string& path, const std::string& text, const Tokenizer& tokenizer,
                                const DataLimits& limits);

struct CutHaystack {
  std::string text;
  double depth = 0;  // where the needle's line begins, in [0, 1)
  bool cut = false;
};

// The text with whole lines left out, so that fits(text) holds: the first line and the needle's stay, and of the others
// those nearest to the needle, as many before and after it as keep its relative depth. Empty when not even these two
// lines fit, or the needle is nowhere. `fits` must not become true by adding lines.
CutHaystack cut_haystack(std::string_view text, std::string_view needle,
                         const std::function<bool(const std::string&)>& fits);

}  // namespace cairn::eval

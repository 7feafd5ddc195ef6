// SPDX-License-Identifier: Apache-2.0
// Streaming an answer to standard output, and the line of figures about it.
#pragma once

#include <string>

#include "apps/cairn/generation.h"
#include "cairn/base/result.h"
#include "cairn/text/tokenizer.h"

namespace cairn {

// Prints ids as text while they come, whole characters at a time. Thread-compatible.
class AnswerPrinter {
 public:
  // `continues_text`: the answer goes on in the prompt's text, so a space in front is kept. `show`: print at all.
  AnswerPrinter(const Tokenizer& tokenizer, bool continues_text, bool show);

  Status print(TokenId id);  // kIo when standard output is closed
  Status finish();           // prints what was held back of an unfinished character and a line break

  const std::string& text() const { return text_; }

 private:
  Status write(const std::string& part);
  Status show(const std::string& part) const;

  TokenStream stream_;
  bool show_;
  std::string text_;
};

// "prompt 120 tokens, reused 64, first token 0.05 s, 12 tokens at 30.1 per second, KV 1.2 MiB"
std::string answer_figures(const Answered& answer, std::size_t kv_bytes);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Text as it comes out of a model: whole characters from token ids, and an end before the first stop string.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/base/utf8.h"
#include "cairn/text/tokenizer.h"

namespace cairn {

// Decodes ids one by one as a model produces them. The concatenation of all results equals decode() of all ids.
// Keeps a reference to the tokenizer. Thread-compatible.
class TokenStream {
 public:
  explicit TokenStream(const Tokenizer& tokenizer, const DecodeOptions& options = {})
      : tokenizer_(&tokenizer), options_(options), drop_space_(!options.continues_text) {}

  std::string feed(TokenId id) { return utf8_.feed(next_bytes(id)); }
  std::string finish() { return utf8_.finish(); }

 private:
  friend class Tokenizer;
  std::string_view next_bytes(TokenId id);

  const Tokenizer* tokenizer_;
  DecodeOptions options_;
  bool drop_space_;  // the next raw token begins with the space that encode put there
  Utf8Stream utf8_;
};

// Ends a text before the first of some stop strings, and holds back what may turn out to begin one. Empty stop strings
// count for nothing. Thread-compatible.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // More text: returns what is certain now. Nothing more once stopped().
  std::string feed(std::string_view text);
  // There is no more: returns what was held back.
  std::string finish() { return std::exchange(held_, {}); }
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace cairn

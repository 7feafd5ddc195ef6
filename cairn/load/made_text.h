// SPDX-License-Identifier: Apache-2.0
// Text made of common words, the same for the same seed, and cut to a number of tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "cairn/base/random.h"
#include "cairn/base/result.h"

namespace cairn::load {

// `words` words, each behind a blank, so that texts can be joined without changing their tokens.
std::string made_words(SeededRandom random, std::size_t words);

// What the server's tokenizer makes of a text.
using TokenCounter = std::function<Result<std::size_t>(const std::string& text)>;

// Text by the number of its words: text(n) is a prefix of text(n + 1).
using TextOfWords = std::function<std::string(std::size_t words)>;

struct SizedText {
  std::string text;
  std::size_t words = 0;
  std::size_t tokens = 0;
};

// A prefix of about `tokens` tokens, at most a hundredth off unless words are that long; fewer when `max_words` words
// are not enough. `tokens_per_word` is a first guess; without a counter it is all there is. Requires:
// tokens_per_word > 0.
Result<SizedText> sized_text(const TextOfWords& text, std::size_t max_words, std::size_t tokens, double tokens_per_word,
                             const TokenCounter& count);

// The first words of `text` with what stands between them; all of it when it has no more.
std::string first_words(std::string_view text, std::size_t words);
std::size_t count_words(std::string_view text);

}  // namespace cairn::load

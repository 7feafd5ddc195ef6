// SPDX-License-Identifier: Apache-2.0
// How alike two texts are, from 0 to 1. Any bytes are welcome: what is not UTF-8 counts as characters of its own. Of
// long texts only the beginning is looked at (constants below), so that a hostile text costs a bounded time.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace cairn {

inline constexpr std::size_t kMaxComparedBytes = std::size_t{1} << 16;
inline constexpr std::size_t kMaxComparedWords = 1024;  // by what takes time quadratic in the words

// The words of the first kMaxComparedBytes, at most `limit`; they point into `text`. Blanks separate words.
std::vector<std::string_view> split_words(std::string_view text, std::size_t limit = kMaxComparedWords);

// The sentences of the first kMaxComparedBytes, without their full stops and the blanks around them.
std::vector<std::string_view> split_sentences(std::string_view text);

// F1 over the bags of code points, blanks aside, as LongBench and SCBench score Chinese answers. Two empty texts: 1.
double char_f1(std::string_view a, std::string_view b);

// F1 over the bags of sentences, letter by letter.
double sentence_f1(std::string_view a, std::string_view b);

// F1 of the longest common subsequence of words: ROUGE-L without stemming.
double rouge_l(std::string_view a, std::string_view b);

// 1 - (insertions, deletions and replacements of words that turn a into b) / (words of the longer one).
double word_similarity(std::string_view a, std::string_view b);

}  // namespace cairn

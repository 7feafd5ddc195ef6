// SPDX-License-Identifier: Apache-2.0
// How good an answer is, and how alike two texts are. Any bytes are welcome, of any length; a score costs a bounded
// time.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "cairn/eval/session.h"

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

// Below this a generated body is not the one that was asked for, however far the others are.
inline constexpr double kNearBody = 0.8;

// From 0 to 1. `generated` is what follows the query; for answers of one line the caller cuts it at the newline.
// A turn with `begins_with` scores 0 unless that word comes first; the metric judges what follows it.
// Of kChoice, where nothing is generated, a generated option is scored as if it were the chosen one.
double score_answer(const Turn& turn, std::string_view generated);

// Whether the word comes first, as a word of its own; true for no word.
bool begins_with_word(std::string_view word, std::string_view generated);

// kChoice: 1 if candidates[chosen] is the gold one. Requires: chosen < turn.candidates.size().
double score_choice(const Turn& turn, std::size_t chosen);

// Whether a score counts as a right answer. All or nothing, except that the overlaps of longer answers (kCharF1,
// kRougeL, kFactF1) must exceed one half: of two Chinese names of two characters that share one, neither is right.
bool is_correct(Metric metric, double score);

}  // namespace cairn

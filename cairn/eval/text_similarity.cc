// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/text_similarity.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "cairn/base/utf8.h"

namespace cairn {
namespace {

constexpr std::string_view kBlanks = " \t\r\n\v\f";

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::vector<std::string_view> split_characters(std::string_view text) {
  text = text.substr(0, kMaxComparedBytes);
  std::vector<std::string_view> characters;
  while (!text.empty()) {
    const std::size_t length = std::max<std::size_t>(1, utf8_char_length(text));
    if (kBlanks.find(text[0]) == kBlanks.npos) characters.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return characters;
}

double f1(std::size_t common, std::size_t a, std::size_t b) {
  if (a + b == 0) return 1;
  return 2 * static_cast<double>(common) / static_cast<double>(a + b);
}

double bag_f1(std::vector<std::string_view> a, std::vector<std::string_view> b) {
  std::ranges::sort(a);
  std::ranges::sort(b);
  std::vector<std::string_view> common;
  std::ranges::set_intersection(a, b, std::back_inserter(common));
  return f1(common.size(), a.size(), b.size());
}

}  // namespace

std::vector<std::string_view> split_words(std::string_view text, std::size_t limit) {
  text = text.substr(0, kMaxComparedBytes);
  std::vector<std::string_view> words;
  while (words.size() < limit) {
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == text.npos) break;
    text.remove_prefix(first);
    const std::size_t length = std::min(text.find_first_of(kBlanks), text.size());
    words.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return words;
}

std::vector<std::string_view> split_sentences(std::string_view text) {
  text = text.substr(0, kMaxComparedBytes);
  std::vector<std::string_view> sentences;
  while (!text.empty()) {
    const std::size_t length = std::min(text.find('.'), text.size());
    const std::string_view sentence = trim(text.substr(0, length));
    if (!sentence.empty()) sentences.push_back(sentence);
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  return sentences;
}

double char_f1(std::string_view a, std::string_view b) {
  return bag_f1(split_characters(a), split_characters(b));
}

double sentence_f1(std::string_view a, std::string_view b) {
  return bag_f1(split_sentences(a), split_sentences(b));
}

double rouge_l(std::string_view a, std::string_view b) {
  const auto x = split_words(a), y = split_words(b);
  std::vector<std::size_t> row(y.size() + 1, 0);  // row[j]: longest common subsequence of x so far and y[0, j)
  for (const std::string_view word : x) {
    std::size_t diagonal = 0;
    for (std::size_t j = 0; j < y.size(); ++j) {
      const std::size_t above = row[j + 1];
      row[j + 1] = word == y[j] ? diagonal + 1 : std::max(above, row[j]);
      diagonal = above;
    }
  }
  return f1(row.back(), x.size(), y.size());
}

double word_similarity(std::string_view a, std::string_view b) {
  const auto x = split_words(a), y = split_words(b);
  const std::size_t longer = std::max(x.size(), y.size());
  if (longer == 0) return 1;
  std::vector<std::size_t> row(y.size() + 1);  // row[j]: edits from x so far to y[0, j)
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < y.size(); ++j) {
      const std::size_t replaced = diagonal + (x[i] == y[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return 1 - static_cast<double>(row.back()) / static_cast<double>(longer);
}

}  // namespace cairn

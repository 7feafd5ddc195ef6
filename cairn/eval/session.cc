// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/session.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <string>

#include "cairn/base/check.h"
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

constexpr std::string_view kLineBlanks = " \t\r\v\f";

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::string_view first_line(std::string_view text) {
  text = text.substr(0, std::min(text.find('\n'), kMaxComparedBytes));
  const std::size_t first = text.find_first_not_of(kLineBlanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kLineBlanks) - first + 1);
}

// ASCII only: what is a letter beyond it depends on tables that no answer of ours needs.
std::string lower(std::string_view text) {
  std::string out(text.substr(0, kMaxComparedBytes));
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// The first number, such as "-12.5", without needless zeros in front; empty if there is none.
std::string first_number(std::string_view text) {
  text = text.substr(0, kMaxComparedBytes);
  const auto begin = std::ranges::find_if(text, is_digit);
  auto end = std::find_if_not(begin, text.end(), is_digit);
  if (begin == end) return {};
  if (text.end() - end > 1 && *end == '.' && is_digit(end[1])) end = std::find_if_not(end + 1, text.end(), is_digit);
  std::string number(begin, end);
  number.erase(0, std::min(number.find_first_not_of('0'), number.size() - 1));
  if (number[0] == '.') number.insert(0, 1, '0');
  return begin != text.begin() && begin[-1] == '-' && number != "0" ? "-" + number : number;
}

double share_contained(const Turn& turn, std::string_view generated, bool any) {
  const std::string answer = lower(generated);
  const auto found = std::ranges::count_if(turn.gold, [&](const std::string& g) { return answer.contains(lower(g)); });
  if (any) return found > 0;
  return static_cast<double>(found) / static_cast<double>(turn.gold.size());
}

// Bytes beyond ASCII count as letters.
bool is_word_byte(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (static_cast<unsigned char>(c) & 0x80) != 0;
}

// Requires: both in lower case.
bool has_whole(std::string_view answer, std::string_view gold) {
  if (gold.empty()) return false;
  for (std::size_t at = answer.find(gold); at != answer.npos; at = answer.find(gold, at + 1)) {
    const std::size_t end = at + gold.size();
    const bool begins = at == 0 || !is_word_byte(gold.front()) || !is_word_byte(answer[at - 1]);
    const bool ends = end == answer.size() || !is_word_byte(gold.back()) || !is_word_byte(answer[end]);
    if (begins && ends) return true;
  }
  return false;
}

bool whole_word(const Turn& turn, std::string_view generated) {
  const std::string answer = lower(generated);
  return std::ranges::any_of(turn.gold, [&](const std::string& gold) { return has_whole(answer, lower(trim(gold))); });
}

double nearest_body(const Turn& turn, std::string_view generated) {
  const std::string& needle = turn.gold[0];
  const double similarity = word_similarity(generated, needle);
  if (similarity < kNearBody) return 0;
  // One that is just as near shows that the answer does not tell them apart.
  return std::ranges::none_of(turn.candidates, [&](const std::string& body) {
    return body != needle && word_similarity(generated, body) >= similarity;
  });
}

double best_of_gold(const Turn& turn, std::string_view generated,
                    double (*similarity)(std::string_view, std::string_view)) {
  double best = 0;
  for (const std::string& gold : turn.gold) best = std::max(best, similarity(generated, gold));
  return best;
}

// Takes the word off; false if the answer does not begin with it.
bool take_first_word(std::string_view word, std::string_view& answer) {
  const auto words = split_words(answer, 1);
  if (words.empty() || words[0] != word) return false;
  answer.remove_prefix(static_cast<std::size_t>(words[0].data() - answer.data()) + word.size());
  return true;
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

double score_answer(const Turn& turn, std::string_view generated) {
  CAIRN_CHECK(!turn.gold.empty());
  if (!turn.begins_with.empty() && !take_first_word(turn.begins_with, generated)) return 0;
  const auto is_gold = [&](std::string_view answer) {
    return std::ranges::any_of(turn.gold, [&](const std::string& gold) { return answer == first_line(gold); });
  };
  switch (turn.metric) {
    case Metric::kExact:
    case Metric::kChoice: return is_gold(first_line(generated));
    case Metric::kContains: return share_contained(turn, generated, true);
    case Metric::kWholeWord: return whole_word(turn, generated);
    case Metric::kRecall: return share_contained(turn, generated, false);
    case Metric::kCharF1: return best_of_gold(turn, generated, char_f1);
    case Metric::kRougeL: return best_of_gold(turn, generated, rouge_l);
    case Metric::kFactF1: {
      std::string facts;
      for (const std::string& fact : turn.gold) facts += fact + " ";
      return sentence_f1(generated, facts);
    }
    case Metric::kNearestBody: return nearest_body(turn, generated);
    case Metric::kFirstNumber: {
      const std::string number = first_number(generated);
      return !number.empty() &&
             std::ranges::any_of(turn.gold, [&](const std::string& gold) { return number == first_number(gold); });
    }
  }
  CAIRN_CHECK(false);
}

bool begins_with_word(std::string_view word, std::string_view generated) {
  return word.empty() || take_first_word(word, generated);
}

double score_choice(const Turn& turn, std::size_t chosen) {
  CAIRN_CHECK(!turn.gold.empty() && chosen < turn.candidates.size());
  return std::ranges::count(turn.gold, turn.candidates[chosen]) > 0;
}

bool is_correct(Metric metric, double score) {
  switch (metric) {
    case Metric::kCharF1:
    case Metric::kRougeL:
    case Metric::kFactF1: return score > 0.5;
    case Metric::kExact:
    case Metric::kContains:
    case Metric::kWholeWord:
    case Metric::kRecall:
    case Metric::kNearestBody:
    case Metric::kFirstNumber:
    case Metric::kChoice: return score >= 1;
  }
  CAIRN_CHECK(false);
}

}  // namespace cairn

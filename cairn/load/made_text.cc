// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/made_text.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "cairn/base/check.h"

namespace cairn::load {
namespace {

constexpr int kMaxTries = 6;

constexpr std::array<std::string_view, 96> kWords = {
    "the",   "of",    "and",   "to",    "in",    "is",    "was",   "for",   "that",  "with",  "as",     "on",
    "by",    "from",  "at",    "be",    "this",  "are",   "or",    "an",    "which", "one",   "not",    "have",
    "two",   "first", "new",   "time",  "after", "other", "more",  "about", "into",  "year",  "when",   "there",
    "over",  "made",  "used",  "most",  "city",  "work",  "state", "name",  "house", "river", "garden", "north",
    "south", "east",  "west",  "water", "light", "small", "large", "long",  "high",  "old",   "young",  "early",
    "later", "part",  "place", "world", "life",  "day",   "night", "man",   "woman", "child", "people", "school",
    "book",  "music", "game",  "team",  "line",  "road",  "king",  "war",   "land",  "sea",   "air",    "hand",
    "head",  "eye",   "tree",  "stone", "red",   "white", "black", "green", "found", "left",  "right",  "three"};

constexpr std::string_view kBlanks = " \t\r\n";

}  // namespace

std::string made_words(SeededRandom random, std::size_t words) {
  std::string text;
  text.reserve(words * 6);
  for (std::size_t i = 0; i < words; ++i) {
    text += ' ';
    text += kWords[random.below(kWords.size())];
  }
  return text;
}

Result<SizedText> sized_text(const TextOfWords& text, std::size_t max_words, std::size_t tokens, double tokens_per_word,
                             const TokenCounter& count) {
  CAIRN_CHECK(tokens_per_word > 0);
  const auto words_for = [&](double per_word) {
    const double words = std::round(static_cast<double>(tokens) / per_word);
    return static_cast<std::size_t>(std::clamp(words, 1.0, static_cast<double>(std::max<std::size_t>(max_words, 1))));
  };
  SizedText best;
  const auto error_of = [&](const SizedText& sized) {
    return sized.tokens > tokens ? sized.tokens - tokens : tokens - sized.tokens;
  };
  std::size_t words = words_for(tokens_per_word);
  for (int tries = 0; tries < kMaxTries; ++tries) {
    SizedText now{.text = text(words), .words = words, .tokens = tokens};
    if (!count) return now;
    CAIRN_TRY(now.tokens, count(now.text));
    if (tries == 0 || error_of(now) < error_of(best)) best = now;
    if (error_of(best) * 500 <= tokens || now.tokens == 0) break;
    const std::size_t next = words_for(static_cast<double>(now.tokens) / static_cast<double>(words));
    if (next == words) break;
    words = next;
  }
  return best;
}

std::string first_words(std::string_view text, std::size_t words) {
  std::size_t end = 0;
  for (; words > 0; --words) {
    const std::size_t begin = text.find_first_not_of(kBlanks, end);
    if (begin == text.npos) return std::string(text);
    end = std::min(text.find_first_of(kBlanks, begin), text.size());
  }
  return std::string(text.substr(0, end));
}

std::size_t count_words(std::string_view text) {
  std::size_t words = 0;
  for (std::size_t at = 0; (at = text.find_first_not_of(kBlanks, at)) != text.npos; ++words) {
    at = std::min(text.find_first_of(kBlanks, at), text.size());
  }
  return words;
}

}  // namespace cairn::load

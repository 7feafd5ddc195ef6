// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/tokenizer_special.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

namespace cairn {
namespace {

struct Occurrence {
  std::size_t priority = 0;  // index in Vocabulary::specials()
  std::size_t begin = 0;
};

std::vector<Occurrence> find_all(const Vocabulary& vocabulary, std::string_view text, bool parse_control) {
  const auto& specials = vocabulary.specials();
  std::array<std::vector<std::size_t>, 256> by_first_byte;
  for (std::size_t i = 0; i < specials.size(); ++i) {
    if (!parse_control && vocabulary.type(specials[i]) != TokenType::kUserDefined) continue;
    by_first_byte[static_cast<unsigned char>(vocabulary.text(specials[i])[0])].push_back(i);
  }
  std::vector<Occurrence> found;
  for (std::size_t begin = 0; begin < text.size(); ++begin) {
    for (const std::size_t i : by_first_byte[static_cast<unsigned char>(text[begin])]) {
      if (text.substr(begin).starts_with(vocabulary.text(specials[i]))) found.push_back({i, begin});
    }
  }
  return found;
}

}  // namespace

std::vector<TextFragment> split_at_specials(const Vocabulary& vocabulary, std::string_view text, bool parse_control) {
  std::vector<Occurrence> found = find_all(vocabulary, text, parse_control);
  std::ranges::sort(found, {}, [](const Occurrence& o) { return std::tuple(o.priority, o.begin); });

  std::map<std::size_t, TokenId> taken;  // begin of a token -> token, never overlapping
  for (const Occurrence& o : found) {
    const TokenId id = vocabulary.specials()[o.priority];
    const auto after = taken.lower_bound(o.begin);
    if (after != taken.end() && after->first < o.begin + vocabulary.text(id).size()) continue;
    if (after != taken.begin()) {
      const auto before = std::prev(after);
      if (before->first + vocabulary.text(before->second).size() > o.begin) continue;
    }
    taken.emplace_hint(after, o.begin, id);
  }

  std::vector<TextFragment> fragments;
  std::size_t end = 0;
  for (const auto& [begin, id] : taken) {
    if (begin > end) fragments.push_back({text.substr(end, begin - end), std::nullopt});
    fragments.push_back({text.substr(begin, vocabulary.text(id).size()), id});
    end = begin + vocabulary.text(id).size();
  }
  if (end < text.size()) fragments.push_back({text.substr(end), std::nullopt});
  return fragments;
}

}  // namespace cairn

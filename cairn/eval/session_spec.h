// SPDX-License-Identifier: Apache-2.0
// What a session of the suite is made from. The same spec and tokenizer give the same bytes on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace cairn {

struct SessionSpec {
  std::uint64_t seed = 0;
  std::uint32_t index = 0;                                    // among the sessions of a task and context length
  std::uint32_t context_tokens = 0;                           // instruction and context use at most so many
  std::uint32_t turns = 5;                                    // 1 to kMaxTurns
  std::function<std::size_t(std::string_view)> count_tokens;  // asked a dozen times for a whole context; must be set
  bool shuffled_labels = false;  // control: the shots of S9 carry random labels; the other tasks have none to shuffle
  bool rule = false;             // control: the instruction asks for a word that every answer begins with
};

inline constexpr std::uint32_t kMaxTurns = 10;
inline constexpr std::uint32_t kMinContextTokens = 128;
inline constexpr double kMinFill = 0.85;  // share of context_tokens that a session uses at least

}  // namespace cairn

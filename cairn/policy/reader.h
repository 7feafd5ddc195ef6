// SPDX-License-Identifier: Apache-2.0
// Read selection: which pages a query reads at one layer. Nothing goes: the next query may read others. Pages are
// judged by the boxes of their keys, channel-wise bounds over every kBoxTokens tokens, or by what a reader does without
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/policy/policy.h"

namespace cairn {

// Tokens of a box: the page of the Quest paper.
inline constexpr std::uint32_t kBoxTokens = 16;

// Immutable, lives for ever.
struct Reader {
  std::string_view name;
  std::string_view paper;
  // Whether it scores boxes. Then a box's score is the product of `folded` with its greatest and least keys; otherwise
  // `exact` or position alone decides.
  bool boxes = false;
  // By the attention that a page would get, which reads every key: the upper bound of all readers, no saving.
  bool exact = false;
  // By a hash: the control. Readers without any of the three read the newest.
  bool random = false;
  // folded is [2 * head_dim]: what meets the greatest keys, then what meets the least. q is [head_dim].
  void (*fold)(const float* q, std::uint32_t head_dim, float* folded) = nullptr;
};

std::span<const Reader> reader_table();

// kUnsupported, with the list, when there is none.
Result<const Reader*> find_reader(std::string_view name);

// What is known of the units that one KV head could read: those of whole blocks, oldest first. Units are boxes, or
// blocks for readers without boxes.
struct ReadChoice {
  std::span<const float> scores;  // by unit; -infinity for what cannot be read. Ignored by `recent` and `random`
  std::uint32_t units_per_block = 1;
  std::size_t blocks = 0;       // scores.size() is units_per_block times as many, where there are scores
  std::size_t open_blocks = 0;  // read in any case, after these: they count against the budget
  std::uint64_t seed = 0;       // for the random control: of the sequence, the layer and the position
};

// Whether a query that could read so many blocks reads fewer: if not, attention is that of no policy, bit by bit.
bool selects(const PolicySpec& policy, std::size_t blocks, std::size_t open_blocks);

// The numbers of the blocks to read, ascending: the best `keep` of all, the sink block and at least one other included;
// equal scores go to the older one. A block has the score of its best unit, and what has only -infinity or NaN is not
// read, save the sink block. Allocates nothing where `chosen` has room for all blocks. Requires: selects().
void choose_blocks(const PolicySpec& policy, const ReadChoice& choice, std::vector<std::uint32_t>& chosen);

}  // namespace cairn

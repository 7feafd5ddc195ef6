// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/reader.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "cairn/base/check.h"
#include "cairn/base/random.h"

namespace cairn {
namespace {

// The greatest product that the query could have with a key within the box.
void fold_bound(const float* q, std::uint32_t head_dim, float* folded) {
  for (std::uint32_t c = 0; c < head_dim; ++c) {
    folded[c] = std::max(q[c], 0.0f);
    folded[head_dim + c] = std::min(q[c], 0.0f);
  }
}

// MPCache's form without comparisons, which are dear under its encryption: the query meets one point of the box.
void fold_linear(const float* q, std::uint32_t head_dim, float* folded) {
  for (std::uint32_t c = 0; c < head_dim; ++c) {
    folded[c] = 0.6f * q[c];
    folded[head_dim + c] = 0.4f * q[c];
  }
}

// Whole blocks to read, the sink block among them; may be more than there are.
std::size_t read_blocks(const PolicySpec& policy, std::size_t blocks, std::size_t open_blocks) {
  const auto budget = static_cast<std::size_t>(std::llround(policy.keep * static_cast<double>(blocks + open_blocks)));
  return std::max<std::size_t>(2, budget - std::min(budget, open_blocks));
}

constexpr std::uint32_t kUnreadable = 0;

// A number in the order of the scores; kUnreadable for -infinity and NaN. Both zeros are equal.
std::uint32_t rank_of(float score) {
  if (!(score > -std::numeric_limits<float>::infinity())) return kUnreadable;
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0f);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

std::uint32_t best_rank(const ReadChoice& choice, std::size_t block) {
  const float* units = choice.scores.data() + block * choice.units_per_block;
  std::uint32_t best = kUnreadable;
  for (std::uint32_t u = 0; u < choice.units_per_block; ++u) best = std::max(best, rank_of(units[u]));
  return best;
}

// Never kUnreadable.
std::uint32_t random_rank(std::uint64_t seed, std::size_t block) {
  return static_cast<std::uint32_t>(SeededRandom(seed ^ block).next() >> 32) | 1u;
}

// The sink block and the `count` of greatest rank among the others, which are more. `chosen` holds ranks until the
// least that is read is known: blocks come out in order, and without memory of their own.
template <class RankOf>
void choose_best(std::size_t blocks, std::size_t count, const RankOf& rank, std::vector<std::uint32_t>& chosen) {
  chosen.resize(blocks - 1);
  for (std::size_t b = 1; b < blocks; ++b) chosen[b - 1] = rank(b);
  const auto least = chosen.begin() + static_cast<std::ptrdiff_t>(count - 1);
  std::ranges::nth_element(chosen, least, std::greater<>());
  const std::uint32_t bar = *least;
  auto ties =
      count - static_cast<std::size_t>(std::count_if(chosen.begin(), least, [&](std::uint32_t r) { return r > bar; }));
  std::size_t written = 0;
  chosen[written++] = 0;
  for (std::size_t b = 1; b < blocks; ++b) {
    const std::uint32_t r = rank(b);
    if (r < bar || r == kUnreadable || (r == bar && ties == 0)) continue;
    if (r == bar) --ties;
    chosen[written++] = static_cast<std::uint32_t>(b);
  }
  chosen.resize(written);
}

}  // namespace

std::span<const Reader> reader_table() {
  static const Reader table[] = {
      {.name = "quest", .paper = "Tang 2024, arXiv 2406.10774", .boxes = true, .fold = fold_bound},
      {.name = "linear", .paper = "Zeng 2025, arXiv 2501.06807", .boxes = true, .fold = fold_linear},
      {.name = "exact", .paper = "", .exact = true},
      {.name = "recent", .paper = "Xiao 2023, arXiv 2309.17453"},
      {.name = "random", .paper = "", .random = true},
  };
  return table;
}

Result<const Reader*> find_reader(std::string_view name) {
  const std::span<const Reader> table = reader_table();
  const auto row = std::ranges::find(table, name, &Reader::name);
  if (row != table.end()) return &*row;
  std::string known;
  for (const Reader& reader : table) known += (known.empty() ? "" : ", ") + std::string(reader.name);
  return fail(ErrorCode::kUnsupported, "no reader '" + std::string(name) + "'; there are: " + known);
}

bool selects(const PolicySpec& policy, std::size_t blocks, std::size_t open_blocks) {
  return policy.reads_less() && read_blocks(policy, blocks, open_blocks) < blocks;
}

void choose_blocks(const PolicySpec& policy, const ReadChoice& choice, std::vector<std::uint32_t>& chosen) {
  CAIRN_DCHECK(selects(policy, choice.blocks, choice.open_blocks));
  const Reader& reader = *policy.reader;
  const std::size_t others = read_blocks(policy, choice.blocks, choice.open_blocks) - 1;
  if (reader.random) {
    choose_best(
        choice.blocks, others, [&](std::size_t b) { return random_rank(choice.seed, b); }, chosen);
  } else if (reader.boxes || reader.exact) {
    CAIRN_DCHECK(choice.scores.size() == choice.blocks * choice.units_per_block);
    choose_best(
        choice.blocks, others, [&](std::size_t b) { return best_rank(choice, b); }, chosen);
  } else {
    chosen.assign(1, 0);
    for (std::size_t b = choice.blocks - others; b < choice.blocks; ++b) {
      chosen.push_back(static_cast<std::uint32_t>(b));
    }
  }
}

}  // namespace cairn

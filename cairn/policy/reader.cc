// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/reader.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <string>

#include "cairn/base/check.h"
#include "cairn/base/random.h"
#include "cairn/block/shape.h"

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

// Boxes of whole blocks to read, the sink box among them; may be more than there are.
std::size_t read_boxes(const PolicySpec& policy, std::size_t boxes, std::size_t open_boxes) {
  const auto budget = static_cast<std::size_t>(std::llround(policy.keep * static_cast<double>(boxes + open_boxes)));
  return std::max<std::size_t>(2, budget - std::min(budget, open_boxes));
}

// Numbers in the order of the scores: of negative ones all bits turn, of others the sign. Both zeros are equal.
std::uint32_t rank_of(float score) {
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0f);
  return bits ^ ((0u - (bits >> 31)) | 0x80000000u);
}

constexpr std::uint32_t kUnreadable = 0x007fffff;  // the rank of -infinity

// NaN is never greater than what can be read.
std::uint32_t rank_of_box(float score) {
  return score > -std::numeric_limits<float>::infinity() ? rank_of(score) : kUnreadable;
}

// Never kUnreadable.
std::uint32_t random_rank(std::uint64_t seed, std::size_t box) {
  return static_cast<std::uint32_t>(SeededRandom(seed ^ box).next() >> 32) | 0x80000000u;
}

// The least rank of the `count` greatest, and how many of these have it.
struct Bar {
  std::uint32_t rank = 0;
  std::size_t ties = 0;
};

// Counts ranks in bins of equal width and sorts out the one bin that the bar lies in: a pass costs less than the
// mispredicted branches of a selection over all. What `ranks` holds is used up. Requires: 0 < count <= ranks.size().
Bar bar_of(std::span<std::uint32_t> ranks, std::size_t count) {
  std::uint32_t low = ranks.front(), high = low;
  for (const std::uint32_t rank : ranks) {
    low = std::min(low, rank);
    high = std::max(high, rank);
  }
  std::array<std::uint32_t, 256> bins{};
  const auto shift = static_cast<std::uint32_t>(std::max(static_cast<int>(std::bit_width(high - low)) - 8, 0));
  for (const std::uint32_t rank : ranks) ++bins[(rank - low) >> shift];
  std::uint32_t bin = 255;
  while (bins[bin] < count) count -= bins[bin--];
  std::size_t inside = 0;
  for (const std::uint32_t rank : ranks) {
    ranks[inside] = rank;  // stays where the next one does not belong to the bin
    inside += (rank - low) >> shift == bin ? 1 : 0;
  }
  const auto least = ranks.begin() + static_cast<std::ptrdiff_t>(count - 1);
  std::ranges::nth_element(ranks.begin(), least, ranks.begin() + static_cast<std::ptrdiff_t>(inside), std::greater<>());
  const auto better = std::count_if(ranks.begin(), least, [bar = *least](std::uint32_t rank) { return rank > bar; });
  return {*least, count - static_cast<std::size_t>(better)};
}

// The sink box and the `count` of greatest rank among the others, which are more. `chosen` holds ranks until the bar is
// known: boxes come out in order, and without memory of their own.
template <class RankOf>
void choose_best(std::size_t boxes, std::size_t count, const RankOf& rank_of_number,
                 std::vector<std::uint32_t>& chosen) {
  chosen.resize(boxes - 1);
  for (std::size_t b = 1; b < boxes; ++b) chosen[b - 1] = rank_of_number(b);
  Bar bar = bar_of(chosen, count);
  if (bar.rank == kUnreadable) bar.ties = 0;
  std::size_t written = 0;
  chosen[written++] = 0;
  for (std::size_t b = 1; b < boxes; ++b) {
    const std::uint32_t rank = rank_of_number(b);
    const bool tie = rank == bar.rank && bar.ties > 0;
    bar.ties -= tie ? 1 : 0;
    if (written == chosen.size()) break;  // all that are read have been written
    chosen[written] = static_cast<std::uint32_t>(b);
    written += rank > bar.rank || tie ? 1 : 0;
  }
  chosen.resize(written);
}

// What a score counts as an amount.
double amount_of(float score) {
  return score > 0 && std::isfinite(score) ? static_cast<double>(score) : 0;
}

// The sink box and the best others until `mass` of all amounts is reached, one other at least.
void cut_to_mass(double mass, std::span<const float> scores, std::vector<std::uint32_t>& chosen) {
  double all = 0;
  for (const float score : scores) all += amount_of(score);
  std::ranges::sort(chosen.begin() + 1, chosen.end(), [&](std::uint32_t a, std::uint32_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  });
  double held = amount_of(scores.front());
  std::size_t count = 1;
  while (count < chosen.size() && (count == 1 || held < mass * all)) held += amount_of(scores[chosen[count++]]);
  chosen.resize(count);
  std::ranges::sort(chosen);
}

}  // namespace

std::span<const Reader> reader_table() {
  static const Reader table[] = {
      {.name = "quest",
       .paper = "Tang 2024, arXiv 2406.10774",
       .by = ReadBy::kBounds,
       .fold = fold_bound,
       .greatest = true},
      {.name = "linear",
       .paper = "Zeng 2025, arXiv 2501.06807",
       .by = ReadBy::kBounds,
       .fold = fold_linear,
       .clusters = true},
      {.name = "probe", .paper = "after Xiao 2025, arXiv 2502.13542", .by = ReadBy::kMeans, .window = true},
      {.name = "channels",
       .paper = "Pan 2024, arXiv 2409.04992; Ribar 2023, arXiv 2312.04985",
       .by = ReadBy::kKeys,
       .channels = true},
      {.name = "double-p", .paper = "after Double-P, 2026", .by = ReadBy::kMeans, .refines = true},
      {.name = "sketch", .paper = "", .by = ReadBy::kSketch},
      {.name = "exact", .paper = "", .by = ReadBy::kKeys},
      {.name = "recent", .paper = "Xiao 2023, arXiv 2309.17453"},
      {.name = "random", .paper = "", .by = ReadBy::kRandom},
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

bool selects(const PolicySpec& policy, std::size_t boxes, std::size_t open_boxes) {
  return policy.reads_less() && read_boxes(policy, boxes, open_boxes) < boxes;
}

void choose_boxes(const PolicySpec& policy, const ReadChoice& choice, std::vector<std::uint32_t>& chosen) {
  CAIRN_DCHECK(selects(policy, choice.boxes, choice.open_boxes));
  const Reader& reader = *policy.reader;
  const std::size_t others = read_boxes(policy, choice.boxes, choice.open_boxes) - 1;
  if (reader.by == ReadBy::kRandom) {
    choose_best(
        choice.boxes, others, [&](std::size_t b) { return random_rank(choice.seed, b); }, chosen);
  } else if (reader.scores()) {
    CAIRN_DCHECK(choice.scores.size() == choice.boxes);
    choose_best(
        choice.boxes, others, [&](std::size_t b) { return rank_of_box(choice.scores[b]); }, chosen);
    if (policy.mass < 1) cut_to_mass(policy.mass, choice.scores, chosen);
  } else {
    chosen.assign(1, 0);
    for (std::size_t b = choice.boxes - others; b < choice.boxes; ++b) chosen.push_back(static_cast<std::uint32_t>(b));
  }
}

void leave_best_clusters(double share, std::span<const float> clusters, std::span<float> boxes) {
  CAIRN_DCHECK(!clusters.empty() && boxes.size() % clusters.size() == 0);
  const auto wanted = static_cast<std::size_t>(std::ceil(share * static_cast<double>(clusters.size())));
  const std::size_t count = std::max<std::size_t>(wanted, 2);
  if (count >= clusters.size()) return;
  std::vector<std::uint32_t> best;
  choose_best(
      clusters.size(), count - 1, [&](std::size_t c) { return rank_of(clusters[c]); }, best);
  const std::size_t per_cluster = boxes.size() / clusters.size();
  auto next = best.begin();
  for (std::size_t c = 0; c < clusters.size(); ++c) {
    if (next != best.end() && *next == c) {
      ++next;
      continue;
    }
    std::ranges::fill(boxes.subspan(c * per_cluster, per_cluster), -std::numeric_limits<float>::infinity());
  }
}

void leave_mass(double mass, std::span<float> boxes) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  std::ranges::replace_if(
      boxes, [](float box) { return std::isnan(box); }, kNone);
  std::vector<std::uint32_t> order(boxes.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::stable_sort(order, [&](std::uint32_t a, std::uint32_t b) { return boxes[a] > boxes[b]; });
  double all = 0, held = 0;
  for (const float box : boxes) all += amount_of(box);
  for (std::size_t i = 0; i < order.size(); ++i) {
    float& box = boxes[order[i]];
    const double amount = amount_of(box);
    if (i > 0 && held >= mass * all) box = kNone;
    held += amount;
  }
}

}  // namespace cairn

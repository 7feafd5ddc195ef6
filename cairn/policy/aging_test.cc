// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/aging.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "cairn/base/random.h"
#include "cairn/testing/layer_scores.h"

namespace cairn {
namespace {

// One head that holds these positions, none of them fixed.
LayerScores holding(const std::vector<std::int32_t>& positions) {
  LayerScores layer;
  layer.kv_heads = 1;
  layer.slots = layer.fixed_from = positions.size();
  layer.positions = positions;
  layer.scores.assign(positions.size(), 0.0f);
  return layer;
}

std::vector<std::int32_t> kept_positions(const LayerScores& layer, const LayerKeep& keep) {
  std::vector<std::int32_t> positions;
  for (const std::uint32_t slot : keep.heads[0]) positions.push_back(layer.positions[slot]);
  return positions;
}

// The paper's loop: each token is added, and where the list is then too long, its slot at a fixed distance from the end
// of what the prompt left goes.
TEST(Aging, KeepsWhatOneSlotPerStepWouldKeep) {
  SeededRandom random(1, "aging");
  for (int round = 0; round < 200; ++round) {
    const auto prompt = static_cast<std::int32_t>(100 + random.below(400));
    std::vector<std::int32_t> left;
    const double share = 0.1 + 0.8 * random.unit();
    for (std::int32_t p = 0; p < prompt; ++p) {
      if (p < 4 || random.unit() < share) left.push_back(p);
    }
    if (left.size() < 4 + kAgingTokens) continue;
    const LayerScores after = holding(left);
    PolicySpec policy;
    policy.keep = static_cast<double>(left.size()) / prompt;
    const std::vector<PromptKept> kept =
        prompt_kept(policy, std::span(&after, 1), static_cast<std::size_t>(prompt)).front();
    policy.recent = 1;
    std::vector<std::int32_t> slots = left, ours = left;
    const std::size_t at = left.size() - kAgingTokens;
    for (std::int32_t position = prompt; position < prompt + 300; ++position) {
      slots.push_back(position);
      ours.push_back(position);
      const double held = static_cast<double>(left.size()) / prompt * (position + 1);
      if (static_cast<long long>(slots.size()) > std::llround(held)) {
        slots.erase(slots.begin() + static_cast<std::ptrdiff_t>(at));
      }
      if ((position + 1) % 64 != 0) continue;
      const LayerScores now = holding(ours);
      ours = kept_positions(now, keep_by_age(policy, now, kept));
      ASSERT_EQ(ours, slots) << "round " << round << ", after " << position;
    }
  }
}

TEST(Aging, ProtectedTokensStay) {
  std::vector<std::int32_t> positions(100);
  std::iota(positions.begin(), positions.end(), 0);
  LayerScores layer = holding(positions);
  layer.fixed_from = 90;
  PolicySpec policy;
  policy.sinks = 6;
  policy.recent = 15;
  // A share of 10 of 100 tokens, which protected ones are more than.
  const PromptKept kept[] = {{.share = 0.1, .aging_from = 0}};
  const LayerKeep keep = keep_by_age(policy, layer, kept);
  const std::vector<std::int32_t> expected = {0, 1, 2, 3, 4, 5, 85, 86, 87, 88, 89};
  EXPECT_EQ(kept_positions(layer, keep), expected);
}

// A prompt of less than a block keeps everything, and one of little more its tail: from then on it is `keep` again.
TEST(Aging, ObeysKeepAfterShortPrompts) {
  for (const std::int32_t prompt : {1, 40, 63, 100}) {
    std::vector<std::int32_t> held;
    for (std::int32_t p = prompt == 100 ? 52 : 0; p < prompt; ++p) held.push_back(p);
    PolicySpec policy;
    policy.recent = 1;
    const LayerScores after = holding(held);
    const auto kept = prompt_kept(policy, std::span(&after, 1), static_cast<std::size_t>(prompt)).front();
    EXPECT_DOUBLE_EQ(kept[0].share, 0.25);
    for (std::int32_t size = prompt; size < 1024; ++size) {
      held.push_back(size);
      if ((size + 1) % 64 != 0) continue;
      const LayerScores now = holding(held);
      held = kept_positions(now, keep_by_age(policy, now, kept));
      ASSERT_EQ(static_cast<std::int32_t>(held.size()), (size + 1) / 4) << prompt;
      // The newest are among them, a prompt's last tokens or what came after it.
      const auto young = static_cast<std::ptrdiff_t>(std::min<std::size_t>(held.size() - 5, kAgingTokens));
      EXPECT_EQ(*(held.end() - young), size + 1 - static_cast<std::int32_t>(young)) << prompt;
    }
  }
}

// Layers that had more of the prompt have more of what follows; together they keep `keep`.
TEST(Aging, SharesOfLayersAreKeptInProportion) {
  std::vector<std::int32_t> all(80), half(40);
  std::iota(all.begin(), all.end(), 0);
  std::iota(half.begin(), half.end(), 40);
  const LayerScores layers[] = {holding(all), holding(half)};
  const auto kept = prompt_kept(PolicySpec{}, layers, 80);
  EXPECT_DOUBLE_EQ(kept[0][0].share, 1.0 / 3);
  EXPECT_DOUBLE_EQ(kept[1][0].share, 0.5 / 3);
  EXPECT_EQ(kept[1][0].aging_from, 55);
}

}  // namespace
}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/aging.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

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
    const std::vector<PromptKept> kept = prompt_kept(after);
    ASSERT_EQ(kept[0].tokens, left.size());
    PolicySpec policy;
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
      ours = kept_positions(now, keep_by_age(policy, now, kept, static_cast<std::size_t>(prompt)));
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
  // A prompt of 20 tokens that left 10: all of them age, save the sinks.
  const PromptKept kept[] = {{.tokens = 10, .aging_from = 0}};
  const LayerKeep keep = keep_by_age(policy, layer, kept, 100);
  std::vector<std::int32_t> expected = {0, 1, 2, 3, 4, 5, 85, 86, 87, 88, 89};
  EXPECT_EQ(kept_positions(layer, keep), expected);
}

TEST(Aging, HeadsThatKeptEverythingGoOnDoingSo) {
  SeededRandom random(2, "aging");
  const LayerScores layer = testing::random_layer(random, {.kv_heads = 3, .slots = 300});
  const std::vector<PromptKept> kept = {{100, 75}, {50, 25}, {100, 75}};
  const LayerKeep keep = keep_by_age(PolicySpec{}, layer, kept, 100);
  EXPECT_EQ(keep.heads[0].size(), 300u);
  EXPECT_EQ(keep.heads[1].size(), 150u);
  EXPECT_EQ(keep.heads[2].size(), 300u);
}

}  // namespace
}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Survivors in their new pages: which of these are encoded, and what that costs.
#include "cairn/cache/packing.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "cairn/cache/kv_cache.h"
#include "cairn/cache/pass.h"
#include "cairn/policy/policy.h"

namespace cairn {
namespace {

constexpr PageShape kShape{.kv_heads = 2, .head_dim = 16};
constexpr std::uint32_t kLayers = 2;
constexpr std::size_t kTokens = 640;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A prompt of ten blocks, the newer half of which stays: the first 4 tokens and those from 324 on.
class PackingTest : public ::testing::Test {
 protected:
  std::unique_ptr<KvCache> make(const std::string& codec, std::size_t budget = std::size_t{4} << 20) {
    return KvCache::create({.plan = make_plan(codec, {kLayers, kShape, nullptr}).value(),
                            .layers = like_layers(kLayers, kShape),
                            .root = {},
                            .budget_bytes = budget})
        .value();
  }
  // Keys and values are small, save one key of one token under the second KV head.
  Sequence computed(KvCache& cache, std::size_t infinite) {
    Sequence sequence = cache.open({});
    EXPECT_TRUE(sequence.set_policy(parse_policy("streamingllm+keep=0.5").value()));
    const std::size_t width = kShape.values_per_token();
    for (std::size_t first = 0; first < kTokens; first += kBlockTokens) {
      std::vector<std::int32_t> positions(kBlockTokens);
      std::iota(positions.begin(), positions.end(), static_cast<std::int32_t>(first));
      const PassRows part{&sequence, positions};
      Pass pass = passes_.begin({&part, 1}).value();
      for (std::uint32_t l = 0; l < kLayers; ++l) {
        std::vector<float> keys(kBlockTokens * width), values(kBlockTokens * width);
        for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = values[i] = std::sin(static_cast<float>(first + i));
        if (l == 1 && infinite / kBlockTokens == first / kBlockTokens) {
          keys[infinite % kBlockTokens * width + 20] = kInfinity;
        }
        pass.append(l, keys.data(), values.data());
        EXPECT_TRUE(pass.attend({.layer = l, .rows = {}}));
      }
      EXPECT_TRUE(pass.commit(std::vector<TokenId>(kBlockTokens, 1)));
    }
    return sequence;
  }
  static std::vector<bool> encoded(const Sequence& sequence, std::uint32_t layer) {
    std::vector<bool> are;
    for (const PageView& view : sequence.pages(layer)) are.push_back(view.key_format->codec->encode != nullptr);
    return are;
  }

  ThreadPool pool_{2};
  PassRunner passes_{/*heads=*/2, pool_};
};

TEST_F(PackingTest, OnlyBlocksWithWhatNoCodeStandsForStayRaw) {
  const auto cache = make("tok4");
  Sequence kept = computed(*cache, 600), dropped = computed(*cache, 100);
  EXPECT_EQ(cache->stats().blocks_kept_raw, 2u);
  ASSERT_TRUE(kept.finish_prefill(pool_));
  ASSERT_TRUE(dropped.finish_prefill(pool_));
  const std::vector<bool> all(5, true);
  EXPECT_EQ(encoded(kept, 0), all);
  EXPECT_EQ(encoded(kept, 1), std::vector<bool>({true, true, true, true, false}));
  EXPECT_EQ(encoded(dropped, 0), all);
  EXPECT_EQ(encoded(dropped, 1), all);
  // Token 600 is survivor 280: the 4 first ones, and 276 before it.
  const PageView& page = kept.pages(1)[4];
  std::vector<float> keys(kBlockTokens * kShape.values_per_token());
  page.key_format->codec->decode(*page.key_format, page.keys, kBlockTokens, keys.data());
  EXPECT_EQ(page.positions[280 % kBlockTokens], 600);
  EXPECT_EQ(std::fabs(keys[280 % kBlockTokens * kShape.values_per_token() + 20]), 65504.0f);  // as pages store it
}

TEST_F(PackingTest, SinksStayOpen) {
  const auto cache = make("tok4+sinks=2");
  Sequence kept = computed(*cache, 2), dropped = computed(*cache, 70);
  ASSERT_TRUE(kept.finish_prefill(pool_));
  ASSERT_TRUE(dropped.finish_prefill(pool_));
  const std::vector<bool> but_sinks = {false, false, true, true, true};
  EXPECT_EQ(encoded(kept, 1), but_sinks);
  EXPECT_EQ(encoded(dropped, 1), but_sinks);
}

// The plan counts encoded blocks alone, and the one that could not be encoded takes more before it goes.
TEST_F(PackingTest, RoomIsThatOfTheBlocksAsTheyAre) {
  const auto ample = make("tok4");
  const PolicySpec policy = parse_policy("streamingllm+keep=0.5").value();
  const PlannedBytes planned =
      ample->planned_bytes(&policy, {.prompt = kTokens, .from = 0, .to = kTokens, .rows = kTokens});
  const cache::LayerForms forms = cache::CacheCore::tables_of(ample->options()).front();
  const auto cache = make("tok4", planned.whole + forms.open_bytes() - forms.closed_bytes());
  Sequence sequence = computed(*cache, 100);
  ASSERT_TRUE(sequence.finish_prefill(pool_));
}

}  // namespace
}  // namespace cairn

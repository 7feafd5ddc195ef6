// SPDX-License-Identifier: Apache-2.0
// Layers with a window: they let go of what is behind it, and nobody can tell from what is computed.
#include "cairn/cache/window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <random>

#include "cairn/cache/kv_cache.h"
#include "cairn/cache/pass.h"
#include "cairn/store/ram_tier.h"

namespace cairn {
namespace {

constexpr std::uint32_t kHeads = 4;
constexpr std::uint32_t kShort = 40, kLong = 200;

// The first layer has a window, as in Gemma 3; the last reads the keys and values of a windowed one.
std::vector<LayerSpec> windowed() {
  auto layers = like_layers(4, {.kv_heads = 2, .head_dim = 16});
  layers[0].window = kShort;
  layers[2].window = kLong;
  layers[3].kv_map = 2;
  layers[3].window = kLong;
  return layers;
}

// What a token has at a layer: a function of the token and its place alone.
std::vector<float> rows_of(std::uint32_t kind, std::uint32_t layer, std::span<const TokenId> tokens, std::size_t first,
                           std::size_t width) {
  std::vector<float> rows;
  rows.reserve(tokens.size() * width);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    std::uint64_t state = (first + i) * 4096 + static_cast<std::uint64_t>(tokens[i]) * 16 + layer * 4 + kind;
    for (std::size_t d = 0; d < width; ++d) {
      state = (state + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
      rows.push_back(static_cast<float>(static_cast<std::int32_t>(state >> 40) - (1 << 23)) * 0x1p-22f);
    }
  }
  return rows;
}

// Outputs of all layers, by token.
using Outputs = std::map<std::size_t, std::vector<float>>;

class WindowTest : public ::testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<KvCache> make_cache(std::size_t index_bytes = 0, std::shared_ptr<KvConnector> store = nullptr) {
    KvCacheOptions options{.plan = {}, .layers = windowed(), .root = {}, .budget_bytes = std::size_t{16} << 20};
    options.plan.layers.assign(options.layers.size(), {*find_codec(GetParam()), *find_codec(GetParam())});
    options.index_budget_bytes = index_bytes;
    options.connector = std::move(store);
    return KvCache::create(options).value();
  }

  // Computes the tokens that the sequence lacks, at most `chunk` in a pass.
  Outputs compute(Sequence& sequence, std::span<const TokenId> prompt, std::size_t chunk = SIZE_MAX) {
    Outputs outputs;
    const auto layers = windowed();
    while (sequence.size() < prompt.size()) {
      const std::size_t first = sequence.size(), count = std::min(chunk, prompt.size() - first);
      const auto tokens = prompt.subspan(first, count);
      std::vector<std::int32_t> positions(count);
      std::iota(positions.begin(), positions.end(), static_cast<std::int32_t>(first));
      std::vector<std::uint32_t> all(count);
      std::iota(all.begin(), all.end(), 0u);
      const PassRows rows{&sequence, positions};
      auto pass = passes_.begin({&rows, 1});
      EXPECT_TRUE(pass) << pass.error().message;
      for (std::uint32_t l = 0; l < layers.size(); ++l) {
        const PageShape shape = layers[l].shape;
        const std::size_t width = kHeads * shape.head_dim;
        const auto q = rows_of(2, l, tokens, first, width);
        std::vector<float> out(q.size());
        pass->append(l, rows_of(0, l, tokens, first, shape.values_per_token()).data(),
                     rows_of(1, l, tokens, first, shape.values_per_token()).data());
        EXPECT_TRUE(pass->attend({.layer = l, .rows = all, .q = q.data(), .out = out.data()}));
        for (std::size_t i = 0; i < count; ++i) {
          const auto row = std::span(out).subspan(i * width, width);
          outputs[first + i].insert(outputs[first + i].end(), row.begin(), row.end());
        }
      }
      EXPECT_TRUE(pass->commit(tokens));
    }
    return outputs;
  }
  static void expect_same(const Outputs& got, const Outputs& expected) {
    for (const auto& [token, row] : got) {
      ASSERT_EQ(std::memcmp(row.data(), expected.at(token).data(), row.size() * sizeof(float)), 0) << token;
    }
  }
  // Computed alone, in one pass, with nothing released.
  Outputs cold(std::span<const TokenId> prompt) {
    const auto cache = make_cache();
    Sequence sequence = cache->open({});
    return compute(sequence, prompt);
  }
  std::vector<TokenId> text(std::size_t count, std::uint32_t seed = 1) {
    std::mt19937 random(seed);
    std::vector<TokenId> tokens(count);
    for (TokenId& token : tokens) token = static_cast<TokenId>(random() % 200);
    return tokens;
  }

  ThreadPool pool_{2};
  PassRunner passes_{kHeads, pool_};
};

INSTANTIATE_TEST_SUITE_P(Codecs, WindowTest, ::testing::Values("raw_f32", "tok4", "kivi4-g32", "zip"));

TEST_P(WindowTest, WhatIsReleasedDoesNotChangeABit) {
  const auto prompt = text(1200);  // beyond one split of pages
  const Outputs expected = cold(prompt);
  for (const std::size_t chunk : {1u, 37u, 64u, 256u}) {
    const auto cache = make_cache();
    Sequence sequence = cache->open({});
    expect_same(compute(sequence, prompt, chunk), expected);
    EXPECT_TRUE(sequence.intact());
  }
}

TEST_P(WindowTest, ALayerHoldsItsWindowAndTwoBlocks) {
  const auto cache = make_cache();
  Sequence sequence = cache->open({});
  const auto prompt = text(1500);
  for (std::size_t size = 100; size <= prompt.size(); size += 50) {
    compute(sequence, std::span(prompt).first(size), 1);
    EXPECT_EQ(sequence.pages(1).size(), (size + kBlockTokens - 1) / kBlockTokens);
    EXPECT_LE(sequence.pages(0).size(), kShort / kBlockTokens + 1 + 2u);
    EXPECT_LE(sequence.pages(2).size(), kLong / kBlockTokens + 1 + 2u);
    EXPECT_LE(sequence.pages(0).size(), max_window_blocks(kShort));
    EXPECT_LE(sequence.pages(2).size(), max_window_blocks(kLong));
    EXPECT_EQ(sequence.pages(3).data(), sequence.pages(2).data());
    EXPECT_LE(sequence.bytes_held(), cache->bytes_for(size));
  }
  EXPECT_EQ(cache->stats().bytes_used, sequence.bytes_held());
  EXPECT_EQ(cache->bytes_for(2560) - cache->bytes_for(1920), 10 * cache->block_bytes(40));
  EXPECT_EQ(max_window_blocks(512), 512u / kBlockTokens + 2);
  EXPECT_EQ(cache->bytes_of(1500) - cache->bytes_of(1000), 500 * cache->bytes_per_token());
}

TEST_P(WindowTest, APrefixHitsAtEveryBoundary) {
  const auto cache = make_cache(std::size_t{8} << 20);
  const auto prompt = text(1000);
  {
    Sequence sequence = cache->open(prompt);
    compute(sequence, prompt, 256);
  }
  for (std::size_t blocks = 0; blocks <= 15; ++blocks) {
    std::vector<TokenId> other(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(blocks * kBlockTokens));
    std::ranges::copy(text(300, 7), std::back_inserter(other));
    Sequence sequence = cache->open(other);
    EXPECT_EQ(sequence.size(), blocks * kBlockTokens);
    EXPECT_LE(sequence.pages(0).size(), 2u);
    expect_same(compute(sequence, other, 100), cold(other));
  }
  EXPECT_EQ(cache->stats().index.shortened, 0u);
}

// Under pressure windowed pages go first. The end of a chain stays of use, what was lost is computed again, and then
// it is whole.
TEST_P(WindowTest, WindowedPagesGoFirstAndComeBack) {
  const auto prompt = text(2000);
  const auto all = make_cache(std::size_t{8} << 20);
  {
    Sequence sequence = all->open(prompt);
    compute(sequence, prompt, 256);
  }
  const std::size_t bytes = all->stats().index.bytes;
  const auto cache = make_cache(bytes * 2 / 3);
  {
    Sequence sequence = cache->open(prompt);
    compute(sequence, prompt, 256);
  }
  const PrefixIndexStats before = cache->stats().index;
  EXPECT_EQ(before.blocks, 31u);
  EXPECT_EQ(before.evictions, 0u);
  EXPECT_GT(before.windows_dropped, 10u);
  EXPECT_LE(before.bytes, bytes * 2 / 3);
  const Outputs expected = cold(prompt);
  {
    Sequence sequence = cache->open(prompt);
    EXPECT_EQ(sequence.size(), 31 * kBlockTokens);
    expect_same(compute(sequence, prompt), expected);
  }
  const auto middle = std::span(prompt).first(800);
  Sequence sequence = cache->open(middle);
  EXPECT_LT(sequence.size(), 12 * kBlockTokens);
  EXPECT_EQ(cache->stats().index.shortened, 1u);
  expect_same(compute(sequence, middle, 100), expected);
  Sequence again = cache->open(middle);
  EXPECT_EQ(again.size(), 12 * kBlockTokens);
  expect_same(compute(again, middle), expected);
}

// Prompts that share beginnings, a budget that holds few of them: each is computed as if alone.
TEST_P(WindowTest, RandomPromptsUnderPressureAreComputedAsIfAlone) {
  std::mt19937 random(3);
  const auto cache = make_cache(24 * make_cache()->block_bytes(9, /*windows=*/true));
  std::vector<std::vector<TokenId>> prompts = {text(700, 11)};
  std::vector<Sequence> alive;
  std::size_t reused = 0;
  for (int round = 0; round < 60; ++round) {
    std::vector<TokenId> prompt = prompts[random() % prompts.size()];
    prompt.resize(std::min<std::size_t>(prompt.size(), 64 + random() % 700));
    const auto tail = text(1 + random() % 200, static_cast<std::uint32_t>(random()));
    prompt.insert(prompt.end(), tail.begin(), tail.end());
    Sequence sequence = cache->open(prompt);
    reused += sequence.size();
    expect_same(compute(sequence, prompt, 1 + random() % 200), cold(prompt));
    prompts.push_back(std::move(prompt));
    if (prompts.size() > 6) prompts.erase(prompts.begin());
    alive.push_back(std::move(sequence));
    if (alive.size() > 3) alive.erase(alive.begin() + static_cast<std::ptrdiff_t>(random() % alive.size()));
  }
  EXPECT_GT(reused, 0u);
  EXPECT_GT(cache->stats().index.windows_dropped, 0u);
}

TEST_P(WindowTest, TrimmingAndRewritingReachAsFarAsTheWindowsDo) {
  const auto cache = make_cache();
  const auto prompt = text(1000);
  const Outputs expected = cold(prompt);
  Sequence sequence = cache->open({});
  compute(sequence, prompt, 100);
  EXPECT_EQ(sequence.trim(500).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(sequence.size(), 1000u);
  const std::vector<std::int32_t> positions = {700};
  const std::vector<std::size_t> slots = {700};
  const PassRows rows{&sequence, positions, slots};
  EXPECT_EQ(passes_.begin({&rows, 1}).error().code, ErrorCode::kUnsupported);
  Sequence fork = sequence.fork();
  ASSERT_TRUE(sequence.trim(960));
  if (sequence.intact()) expect_same(compute(sequence, prompt), expected);
  ASSERT_TRUE(fork.trim(0));
  expect_same(compute(fork, prompt, 250), expected);
}

TEST_P(WindowTest, WindowsOutliveTheirCacheInAStore) {
  StoreOptions tiers;
  tiers.tiers.push_back(*RamTier::create({.budget_bytes = std::size_t{64} << 20}));
  const auto store = std::make_shared<Store>(std::move(tiers));
  const auto connector = [&] {
    return std::make_shared<KvConnector>(
        KvConnectorOptions{.store = store, .recipe = {}, .recipe_text = "test", .tenant = "", .break_even = false});
  };
  const auto prompt = text(1000);
  const Outputs expected = cold(prompt);
  {
    const auto cache = make_cache(std::size_t{8} << 20, connector());
    Sequence sequence = cache->open(prompt);
    compute(sequence, prompt, 256);
  }
  store->flush(deadline_in(std::chrono::seconds(20)));
  for (const std::size_t size : {1000u, 500u, 130u}) {
    const auto cache = make_cache(std::size_t{8} << 20, connector());
    const auto part = std::span(prompt).first(size);
    Sequence waited = cache->open(part);
    EXPECT_EQ(waited.size(), (size - 1) / kBlockTokens * kBlockTokens);
    expect_same(compute(waited, part, 50), expected);
    const auto other = make_cache(std::size_t{8} << 20, connector());
    Sequence joined = other->open_while_loading(part);
    while (joined.poll_load({.chunk = 64, .look = std::chrono::milliseconds(1)}) == LoadStep::kWait) {
    }
    EXPECT_EQ(joined.size(), waited.size() / kBlockTokens * kBlockTokens);
    expect_same(compute(joined, part), expected);
    EXPECT_LE(joined.pages(0).size(), 3u);
  }
}

}  // namespace
}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Passes over rows whose K, V and queries belong to their token and layer, and what came of them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "cairn/cache/kv_cache.h"
#include "cairn/cache/pass.h"
#include "cairn/testing/random.h"

namespace cairn::pass_test {

inline constexpr std::uint32_t kHeads = 4;

// Wide and narrow layers, one with a window, one whose values lie in its keys; three that read the keys and values of
// others.
inline std::vector<LayerSpec> unlike() {
  auto layers = like_layers(7, {.kv_heads = 2, .head_dim = 16});
  layers[1].shape = {.kv_heads = 1, .head_dim = 32};
  layers[1].window = 40;
  layers[2].kv_map = 0;
  layers[3].shape = {.kv_heads = 4, .head_dim = 8};
  layers[4].shape = layers[1].shape;
  layers[4].kv_map = 1;
  layers[5].shape = {.kv_heads = 1, .head_dim = 24, .values_in_keys = 16};
  layers[6].shape = layers[5].shape;
  layers[6].kv_map = 5;
  return layers;
}

inline std::unique_ptr<KvCache> make_cache(std::vector<LayerSpec> layers, const char* codec = "raw_f32",
                                           bool index = false, std::shared_ptr<KvConnector> connector = nullptr) {
  KvCacheOptions options{.plan = {}, .layers = std::move(layers), .root = {}, .budget_bytes = std::size_t{16} << 20};
  options.plan.layers.assign(options.layers.size(), {*find_codec(codec), *find_codec(codec)});
  options.index_budget_bytes = index ? options.budget_bytes : 0;
  options.connector = std::move(connector);
  return KvCache::create(options).value();
}

enum class What : std::uint8_t { kKey, kValue, kQuery, kWrong };

// A row that belongs to a token at a layer.
inline std::vector<float> row_of(What what, std::uint32_t layer, std::size_t token, std::size_t width) {
  const auto seed = static_cast<std::uint32_t>(token * 64 + layer * 8 + static_cast<std::uint32_t>(what));
  return testing::random_floats(width, seed, 0.7f);
}

// The outputs of tokens by layer and token.
using Outputs = std::map<std::pair<std::uint32_t, std::size_t>, std::vector<float>>;

class PassTest : public ::testing::Test {
 protected:
  // Computes these tokens, whose slot and position they are, in this order; `wrong` stores other rows than theirs.
  Outputs compute(Sequence& sequence, std::span<const std::size_t> tokens, bool wrong = false, bool commits = true) {
    const std::vector<std::int32_t> positions(tokens.begin(), tokens.end());
    const std::vector<TokenId> ids(tokens.begin(), tokens.end());
    const bool plain = std::ranges::equal(tokens, following(sequence.size(), tokens.size()));
    const PassRows rows{&sequence, positions, plain ? std::span<const std::size_t>() : tokens};
    auto pass = passes_.begin({&rows, 1});
    EXPECT_TRUE(pass) << pass.error().message;
    Outputs outputs;
    for (std::uint32_t l = 0; l < layers_.size(); ++l) {
      const PageShape shape = layers_[l].shape;
      const auto k = gather(wrong ? What::kWrong : What::kKey, l, tokens, shape.values_per_token());
      const auto v = gather(What::kValue, l, tokens, shape.values_per_token());
      const auto q = gather(What::kQuery, l, tokens, kHeads * shape.head_dim);
      std::vector<float> out(q.size());
      std::vector<std::uint32_t> all(tokens.size());
      std::iota(all.begin(), all.end(), 0u);
      pass->append(l, k.data(), v.data());
      EXPECT_TRUE(pass->attend({.layer = l, .rows = all, .q = q.data(), .out = out.data()}));
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        const std::size_t width = kHeads * shape.value_dim();
        const auto row = std::span(out).subspan(i * width, width);
        outputs[{l, tokens[i]}].assign(row.begin(), row.end());
      }
    }
    if (commits) {
      EXPECT_TRUE(pass->commit(ids));
    }
    return outputs;
  }
  static std::vector<float> gather(What what, std::uint32_t layer, std::span<const std::size_t> tokens,
                                   std::size_t width) {
    std::vector<float> rows;
    for (const std::size_t token : tokens)
      std::ranges::copy(row_of(what, layer, token, width), std::back_inserter(rows));
    return rows;
  }
  static std::vector<std::size_t> following(std::size_t first, std::size_t count) {
    std::vector<std::size_t> tokens(count);
    std::iota(tokens.begin(), tokens.end(), first);
    return tokens;
  }
  std::vector<std::size_t> shuffled(std::size_t first, std::size_t count) {
    auto tokens = following(first, count);
    std::ranges::shuffle(tokens, random_);
    return tokens;
  }
  static void expect_same(const Outputs& got, const Outputs& expected) {
    for (const auto& [at, row] : got) {
      const auto& want = expected.at(at);
      ASSERT_EQ(row.size(), want.size());
      EXPECT_EQ(std::memcmp(row.data(), want.data(), row.size() * sizeof(float)), 0)
          << "layer " << at.first << ", token " << at.second;
    }
  }
  // Every page of every layer, byte by byte.
  void expect_same_pages(const Sequence& a, const Sequence& b) {
    for (std::uint32_t l = 0; l < layers_.size(); ++l) {
      ASSERT_EQ(a.pages(l).size(), b.pages(l).size());
      for (std::size_t p = 0; p < a.pages(l).size(); ++p) {
        const PageView& one = a.pages(l)[p];
        const PageView& other = b.pages(l)[p];
        ASSERT_EQ(one.count, other.count);
        ASSERT_EQ(*one.key_format, *other.key_format);
        EXPECT_EQ(std::memcmp(one.keys, other.keys, one.key_format->codec->page_bytes(*one.key_format)), 0);
        EXPECT_EQ(std::memcmp(one.values, other.values, one.value_format->codec->page_bytes(*one.value_format)), 0);
        EXPECT_TRUE(std::equal(one.positions, one.positions + one.count, other.positions));
      }
    }
  }

  std::vector<LayerSpec> layers_ = unlike();
  ThreadPool pool_{2};
  PassRunner passes_{kHeads, pool_};
  std::mt19937 random_{5};
};

}  // namespace cairn::pass_test

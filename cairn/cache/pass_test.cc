// SPDX-License-Identifier: Apache-2.0
// What a pass computes: the same bits in whatever order its rows come, over layers that are alike or not.
#include "cairn/cache/pass.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <optional>
#include <random>

#include "cairn/cache/kv_cache.h"
#include "cairn/store/ram_tier.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

constexpr std::uint32_t kHeads = 4;

// Wide and narrow layers, one with a window, two that read the keys and values of the first and of the second.
std::vector<LayerSpec> unlike() {
  auto layers = like_layers(5, {.kv_heads = 2, .head_dim = 16});
  layers[1].shape = {.kv_heads = 1, .head_dim = 32};
  layers[1].window = 40;
  layers[2].kv_map = 0;
  layers[3].shape = {.kv_heads = 4, .head_dim = 8};
  layers[4].shape = layers[1].shape;
  layers[4].kv_map = 1;
  return layers;
}

std::unique_ptr<KvCache> make_cache(std::vector<LayerSpec> layers, const char* codec = "raw_f32", bool index = false,
                                    std::shared_ptr<KvConnector> connector = nullptr) {
  KvCacheOptions options{.plan = {}, .layers = std::move(layers), .root = {}, .budget_bytes = std::size_t{16} << 20};
  options.plan.layers.assign(options.layers.size(), {*find_codec(codec), *find_codec(codec)});
  options.index_budget_bytes = index ? options.budget_bytes : 0;
  options.connector = std::move(connector);
  return KvCache::create(options).value();
}

enum class What : std::uint8_t { kKey, kValue, kQuery, kWrong };

// A row that belongs to a token at a layer.
std::vector<float> row_of(What what, std::uint32_t layer, std::size_t token, std::size_t width) {
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
        const auto row = std::span(out).subspan(i * kHeads * shape.head_dim, kHeads * shape.head_dim);
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

TEST_F(PassTest, UnlikeLayersAttendAsTheirSpecsSay) {
  const auto cache = make_cache(layers_);
  Sequence sequence = cache->open({});
  const std::size_t tokens = 150;
  const Outputs outputs = compute(sequence, following(0, tokens));
  for (std::uint32_t l = 0; l < layers_.size(); ++l) {
    const std::uint32_t source = layers_[l].kv_map, dim = layers_[l].shape.head_dim;
    const std::size_t width = layers_[l].shape.values_per_token();
    for (const std::size_t row : {0u, 39u, 40u, 64u, 149u}) {
      const auto q = row_of(What::kQuery, l, row, kHeads * dim);
      for (std::uint32_t h = 0; h < kHeads; ++h) {
        const std::size_t kv_head = h / (kHeads / layers_[l].shape.kv_heads);
        double total = 0;
        std::vector<double> sum(dim);
        for (std::size_t t = 0; t <= row; ++t) {
          if (layers_[l].window != 0 && row - t >= layers_[l].window) continue;
          const auto k = row_of(What::kKey, source, t, width), v = row_of(What::kValue, source, t, width);
          double score = 0;
          for (std::uint32_t d = 0; d < dim; ++d) score += static_cast<double>(q[h * dim + d]) * k[kv_head * dim + d];
          total += std::exp(score);
          for (std::uint32_t d = 0; d < dim; ++d) sum[d] += std::exp(score) * v[kv_head * dim + d];
        }
        for (std::uint32_t d = 0; d < dim; ++d) {
          ASSERT_NEAR(outputs.at({l, row})[h * dim + d], sum[d] / total, 2e-5) << "layer " << l << " row " << row;
        }
      }
    }
  }
  // The mapped layer has nothing of its own.
  EXPECT_EQ(sequence.pages(2).data(), sequence.pages(0).data());
  std::size_t held = 0;
  for (const std::uint32_t l : {0u, 1u, 3u}) held += 2 * 3 * kBlockTokens * layers_[l].shape.values_per_token() * 4;
  EXPECT_EQ(sequence.bytes_held(), held);
}

TEST_F(PassTest, RowsMayComeInAnyOrder) {
  const auto cache = make_cache(layers_);
  Sequence ordered = cache->open({}), scattered = cache->open({});
  for (const std::size_t count : {40u, 120u, 1u, 90u}) {
    const Outputs expected = compute(ordered, following(ordered.size(), count));
    expect_same(compute(scattered, shuffled(scattered.size(), count)), expected);
    EXPECT_TRUE(std::ranges::equal(scattered.tokens(), ordered.tokens()));
    expect_same_pages(scattered, ordered);
  }
  EXPECT_TRUE(scattered.intact());
}

// Some rows of a sequence are wrong at first. Once they, and all that follow, have been computed again, in several
// passes and in scattered order, nobody can tell.
TEST_F(PassTest, RewrittenRowsHaveTheBitsOfOneOrderedPass) {
  const auto cache = make_cache(layers_);
  Sequence ordered = cache->open({});
  const Outputs expected = compute(ordered, following(0, 200));
  for (const std::size_t first_wrong : {0u, 64u, 70u, 190u}) {
    Sequence sequence = cache->open({});
    if (first_wrong > 0) expect_same(compute(sequence, following(0, first_wrong)), expected);
    compute(sequence, following(first_wrong, 170 - std::min<std::size_t>(first_wrong, 169)), /*wrong=*/true);
    // A rewritten row may itself be wrong in an earlier pass, and a pass may rewrite and append at once.
    const std::size_t size = sequence.size();
    compute(sequence, shuffled(first_wrong, size - first_wrong), /*wrong=*/true);
    for (std::size_t at = first_wrong; at < 200;) {
      const std::size_t count = std::min<std::size_t>(200 - at, 1 + random_() % 90);
      expect_same(compute(sequence, shuffled(at, count)), expected);
      at += count;
    }
    expect_same_pages(sequence, ordered);
    EXPECT_FALSE(sequence.intact());
    Sequence other = ordered.fork();
    expect_same(compute(sequence, following(200, 30)), compute(other, following(200, 30)));
  }
}

TEST_F(PassTest, RewritingIsRolledBackToTheBytesBefore) {
  const auto cache = make_cache(layers_);
  Sequence sequence = cache->open({}), twin = cache->open({});
  compute(sequence, following(0, 150));
  compute(twin, following(0, 150));
  const std::size_t used = cache->stats().bytes_used;
  compute(sequence, shuffled(20, 160), /*wrong=*/true, /*commits=*/false);
  EXPECT_EQ(cache->stats().bytes_used, used);
  EXPECT_TRUE(sequence.intact());
  expect_same_pages(sequence, twin);
  expect_same(compute(sequence, following(150, 80)), compute(twin, following(150, 80)));
}

// A fork, and a sequence that finds the blocks in the index, keep what was there.
TEST_F(PassTest, RewritingASharedBlockCopiesItAndEndsPublishing) {
  const auto cache = make_cache(layers_, "raw_f32", /*index=*/true);
  Sequence sequence = cache->open({}), untouched = cache->open({});
  compute(sequence, following(0, 150));
  const Sequence fork = sequence.fork();
  compute(sequence, shuffled(64, 40), /*wrong=*/true);
  EXPECT_FALSE(sequence.intact());
  EXPECT_EQ(sequence.block_keys().size(), 1u);
  compute(untouched, following(0, 150));
  expect_same_pages(fork, untouched);
  compute(sequence, following(150, 100));
  EXPECT_EQ(cache->stats().index.blocks, 2u);
  std::vector<TokenId> prompt(200);
  std::iota(prompt.begin(), prompt.end(), 0);
  const Sequence found = cache->open(prompt);
  ASSERT_EQ(found.size(), 128u);
  EXPECT_EQ(std::memcmp(found.pages(0)[1].keys, untouched.pages(0)[1].keys, 64 * 32 * 4), 0);
}

// Codecs that read the attention of their tokens get the same from rows in any order.
TEST_F(PassTest, ScatteredRowsAreEncodedAlike) {
  layers_ = like_layers(2, {.kv_heads = 2, .head_dim = 32});
  for (const char* codec : {"kivi4-g32", "zip"}) {
    const auto cache = make_cache(layers_, codec);
    Sequence ordered = cache->open({}), scattered = cache->open({}), stepwise = cache->open({});
    const Outputs expected = compute(ordered, following(0, 200));
    expect_same(compute(scattered, shuffled(0, 200)), expected);
    expect_same_pages(scattered, ordered);
    while (stepwise.size() < 200) {
      const std::size_t count = std::min<std::size_t>(200 - stepwise.size(), 33);
      expect_same(compute(stepwise, shuffled(stepwise.size(), count)), expected);
    }
    expect_same_pages(stepwise, ordered);
  }
}

TEST_F(PassTest, RefusesSlotsThatMakeNoSense) {
  const auto cache = make_cache(layers_);
  Sequence sequence = cache->open({});
  compute(sequence, following(0, 70));
  const auto code = [&](std::vector<std::size_t> slots, std::size_t rows) {
    const std::vector<std::int32_t> positions(rows);
    const PassRows part{&sequence, positions, slots};
    const auto pass = passes_.begin({&part, 1});
    return pass ? std::optional<ErrorCode>() : pass.error().code;
  };
  EXPECT_EQ(code({5, 6}, 3), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({5, 5}, 2), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({5, 71}, 2), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({72, 70}, 2), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({71, 3, 70}, 3), std::nullopt);
  ASSERT_TRUE(sequence.drop_block(0, 0));
  EXPECT_EQ(code({3}, 1), ErrorCode::kUnsupported);
  EXPECT_EQ(code({66}, 1), std::nullopt);

  layers_ = like_layers(1, {.kv_heads = 2, .head_dim = 32});
  const auto encoded = make_cache(layers_, "tok4");
  sequence = encoded->open({});
  compute(sequence, following(0, 70));
  EXPECT_EQ(code({3}, 1), ErrorCode::kUnsupported);
  EXPECT_EQ(code({66}, 1), std::nullopt);
}

// Sequences of two caches in one pass: each as alone.
TEST_F(PassTest, CachesWithTheSameLayersShareAPass) {
  const auto one = make_cache(layers_), two = make_cache(layers_);
  Sequence a = one->open({}), b = two->open({}), alone = one->open({});
  const auto positions = [](std::size_t n) {
    std::vector<std::int32_t> all(n);
    std::iota(all.begin(), all.end(), 0);
    return all;
  };
  const auto of_a = positions(70), of_b = positions(30);
  const Outputs expected = compute(alone, following(0, 70));
  const PassRows rows[] = {{&a, of_a}, {&b, of_b}};
  auto pass = passes_.begin(rows);
  ASSERT_TRUE(pass);
  auto tokens = following(0, 70);
  std::ranges::copy(following(0, 30), std::back_inserter(tokens));
  const std::vector<std::uint32_t> wanted = {5, 69, 70, 99};
  for (std::uint32_t l = 0; l < layers_.size(); ++l) {
    const PageShape shape = layers_[l].shape;
    pass->append(l, gather(What::kKey, l, tokens, shape.values_per_token()).data(),
                 gather(What::kValue, l, tokens, shape.values_per_token()).data());
    const std::size_t width = kHeads * shape.head_dim;
    const auto q = gather(What::kQuery, l, std::vector<std::size_t>{5, 69, 0, 29}, width);
    std::vector<float> out(q.size());
    ASSERT_TRUE(pass->attend({.layer = l, .rows = wanted, .q = q.data(), .out = out.data()}));
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t token = std::vector<std::size_t>{5, 69, 0, 29}[i];
      EXPECT_EQ(std::memcmp(out.data() + i * width, expected.at({l, token}).data(), width * sizeof(float)), 0);
    }
  }
  ASSERT_TRUE(pass->commit(std::vector<TokenId>(tokens.begin(), tokens.end())));
  EXPECT_EQ(a.size(), 70u);
  EXPECT_EQ(b.size(), 30u);
}

// Each page is a part of a record: what comes back from a store are the bytes that went there, also where layers
// differ.
TEST_F(PassTest, UnlikeLayersOutliveTheirCache) {
  StoreOptions tiers;
  tiers.tiers.push_back(*RamTier::create({.budget_bytes = std::size_t{64} << 20}));
  const auto store = std::make_shared<Store>(std::move(tiers));
  const auto connector = [&] {
    return std::make_shared<KvConnector>(
        KvConnectorOptions{.store = store, .recipe = {}, .recipe_text = "test", .tenant = "", .break_even = false});
  };
  const auto alone = make_cache(layers_);
  Sequence expected = alone->open({});
  const Outputs outputs = compute(expected, following(0, 200));
  {
    const auto first = make_cache(layers_, "raw_f32", true, connector());
    Sequence sequence = first->open({});
    compute(sequence, following(0, 192));
    ASSERT_TRUE(store->flush(deadline_in(std::chrono::seconds(20))));
  }
  std::vector<TokenId> prompt(200);
  std::iota(prompt.begin(), prompt.end(), 0);
  const auto second = make_cache(layers_, "raw_f32", true, connector());
  Sequence loaded = second->open(prompt);
  ASSERT_EQ(loaded.size(), 192u);
  expect_same(compute(loaded, following(192, 8)), outputs);
  expect_same_pages(loaded, expected);

  const auto third = make_cache(layers_, "raw_f32", true, connector());
  Sequence joined = third->open_while_loading(prompt);
  while (joined.poll_load({.chunk = 64, .look = std::chrono::milliseconds(1)}) == LoadStep::kWait) {
  }
  ASSERT_EQ(joined.load_state(), LoadState::kJoined);
  ASSERT_EQ(joined.size(), 192u);
  expect_same(compute(joined, following(192, 8)), outputs);
  EXPECT_EQ(joined.load_state(), LoadState::kNone);
  expect_same_pages(joined, expected);
  EXPECT_EQ(third->stats().index.blocks, 3u);

  // A cache of other layers takes none of these records, whatever recipe it claims to have.
  const auto others = connector();
  const auto fourth = make_cache(like_layers(3, {.kv_heads = 2, .head_dim = 8}), "raw_f32", true, others);
  EXPECT_EQ(fourth->open(prompt).size(), 0u);
  EXPECT_GT(others->stats().blocks_refused, 0u);
}

class Listener final : public SignalListener {
 public:
  SignalRequest wants(std::uint32_t layer) const override {
    return layer == 1 ? SignalRequest{.stored = true, .queries = true, .softmax = true} : SignalRequest{};
  }
  void stored(const StoredRows& rows) override {
    EXPECT_EQ(rows.layer, 1u);
    stored_.insert(stored_.end(), rows.positions.begin(), rows.positions.end());
    x_ = rows.x;
  }
  void attended(const AttendedRows& rows) override {
    EXPECT_EQ(rows.layer, 1u);
    attended_.insert(attended_.end(), rows.positions.begin(), rows.positions.end());
    for (std::size_t i = 0; i < rows.positions.size() * rows.heads; ++i) {
      EXPECT_TRUE(std::isfinite(rows.softmax[2 * i]));
      EXPECT_GE(rows.softmax[2 * i + 1], 1.0f);
    }
  }
  std::vector<std::int32_t> stored_, attended_;
  const float* x_ = nullptr;
};

TEST_F(PassTest, ListenersAreToldWhatTheyAskFor) {
  const auto cache = make_cache(layers_);
  Sequence sequence = cache->open({});
  Listener listener;
  PassRunner passes(kHeads, pool_, &listener);
  const std::vector<std::int32_t> positions = {0, 1, 2};
  const PassRows rows{&sequence, positions};
  auto pass = passes.begin({&rows, 1});
  ASSERT_TRUE(pass);
  const std::vector<std::uint32_t> all = {0, 1, 2};
  for (std::uint32_t l = 0; l < layers_.size(); ++l) {
    EXPECT_EQ(pass->needs_all_rows(l), l == 1);
    const auto row = testing::random_floats(3 * kHeads * 32, l);
    std::vector<float> out(row.size());
    pass->append(l, row.data(), row.data(), row.data());
    ASSERT_TRUE(pass->attend({.layer = l, .rows = all, .q = row.data(), .out = out.data()}));
  }
  EXPECT_EQ(listener.stored_, positions);
  EXPECT_EQ(listener.attended_, positions);
  EXPECT_NE(listener.x_, nullptr);
}

}  // namespace
}  // namespace cairn

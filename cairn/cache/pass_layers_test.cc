// SPDX-License-Identifier: Apache-2.0
// Passes over layers that are not alike, over several caches, through a store, and with a listener.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "cairn/cache/pass.h"
#include "cairn/store/ram_tier.h"
#include "cairn/testing/passes.h"

namespace cairn::pass_test {
namespace {

TEST_F(PassTest, UnlikeLayersAttendAsTheirSpecsSay) {
  const auto cache = make_cache(layers_);
  Sequence sequence = cache->open({});
  const std::size_t tokens = 150;
  const Outputs outputs = compute(sequence, following(0, tokens));
  for (std::uint32_t l = 0; l < layers_.size(); ++l) {
    const std::uint32_t source = layers_[l].kv_map, dim = layers_[l].shape.head_dim;
    const std::uint32_t value_dim = layers_[l].shape.value_dim();
    const std::size_t width = layers_[l].shape.values_per_token();
    for (const std::size_t row : {0u, 39u, 40u, 64u, 149u}) {
      const auto q = row_of(What::kQuery, l, row, kHeads * dim);
      for (std::uint32_t h = 0; h < kHeads; ++h) {
        const std::size_t kv_head = h / (kHeads / layers_[l].shape.kv_heads);
        double total = 0;
        std::vector<double> sum(value_dim);
        for (std::size_t t = 0; t <= row; ++t) {
          if (layers_[l].window != 0 && row - t >= layers_[l].window) continue;
          const auto k = row_of(What::kKey, source, t, width);
          const auto v = layers_[l].shape.has_value_pages() ? row_of(What::kValue, source, t, width) : k;
          double score = 0;
          for (std::uint32_t d = 0; d < dim; ++d) score += static_cast<double>(q[h * dim + d]) * k[kv_head * dim + d];
          total += std::exp(score);
          for (std::uint32_t d = 0; d < value_dim; ++d) sum[d] += std::exp(score) * v[kv_head * dim + d];
        }
        for (std::uint32_t d = 0; d < value_dim; ++d) {
          ASSERT_NEAR(outputs.at({l, row})[h * value_dim + d], sum[d] / total, 2e-5) << "layer " << l << " row " << row;
        }
      }
    }
  }
  // Mapped layers have nothing of their own, and a token whose value lies in its key is stored once.
  EXPECT_EQ(sequence.pages(2).data(), sequence.pages(0).data());
  std::size_t held = 0;
  for (const std::uint32_t l : {0u, 1u, 3u, 5u}) {
    held += (l == 5 ? 1 : 2) * 3 * kBlockTokens * layers_[l].shape.values_per_token() * 4;
  }
  EXPECT_EQ(sequence.bytes_held(), held);
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
    const std::size_t width = kHeads * shape.value_dim();
    const auto q = gather(What::kQuery, l, std::vector<std::size_t>{5, 69, 0, 29}, kHeads * shape.head_dim);
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
}  // namespace cairn::pass_test

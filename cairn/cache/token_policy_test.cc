// SPDX-License-Identifier: Apache-2.0
// What rows of one pass read at one layer after another.
#include "cairn/cache/token_policy.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "cairn/testing/key_pages.h"

namespace cairn::cache {
namespace {

using testing::key_pages::kBlocks;
using testing::key_pages::kHeads;
using testing::key_pages::kShape;
using testing::key_pages::kTokens;
using testing::key_pages::Pages;
using testing::key_pages::some_queries;

// Three layers with keys of their own, and what one query after the prompt reads of them.
class ReadingTest : public ::testing::Test {
 protected:
  ReadingTest() {
    KvCacheOptions options{.plan = {},
                           .layers = like_layers(3, kShape),
                           .root = chain_root(Digest{}, "test"),
                           .budget_bytes = std::size_t{16} << 20};
    options.plan.layers.assign(3, {*find_codec("raw_f32"), *find_codec("raw_f32")});
    core_ = CacheCore::create(options).value();
    for (std::uint64_t t = 0; t < 3; ++t) pages_.push_back(std::make_unique<Pages>(t));
  }

  TokenPolicy policy(const std::string& text) const {
    TokenPolicy made(parse_policy(text).value(), *core_);
    made.end_prompt(kTokens);
    return made;
  }
  // What is read: twice the number of each box, and one more under the second head.
  std::vector<std::size_t> read(TokenPolicy& policy, std::uint32_t layer, std::size_t slot, std::uint64_t seed) {
    const std::vector<float> q = some_queries(seed);
    const std::int32_t position = kTokens;
    AttendRows rows{.q = q.data(),
                    .positions = &position,
                    .rows = 1,
                    .pages = pages_[layer]->views,
                    .more_pages = {},
                    .out = nullptr};
    const AttendLayer how{.shape = kShape, .heads = kHeads};
    if (policy.remembers(layer)) policy.remember(layer, rows, how);
    ReadSelection into;
    EXPECT_TRUE(policy.select({layer, layer, slot}, rows, how, *core_, pool_, into).value());
    std::vector<std::size_t> found;
    for (std::size_t p = 0; p < rows.pages.size(); ++p) {
      const auto first = static_cast<std::size_t>(rows.pages[p].min_position) / kBoxTokens;
      for (std::uint32_t h = 0; h < 2; ++h) {
        for (std::uint32_t b = 0; b < kBlockBoxes; ++b) {
          if ((rows.reads[p * 2 + h] >> b & 1) != 0) found.push_back(2 * (first + b) + h);
        }
      }
    }
    return found;
  }

  ThreadPool pool_{2};
  std::shared_ptr<CacheCore> core_;
  std::vector<std::unique_ptr<Pages>> pages_;
};

TEST_F(ReadingTest, TheSecondOfAPairReadsWhatTheFirstChose) {
  TokenPolicy pairs = policy("oracle+keep=0.4+layers=pairs"), own = policy("oracle+keep=0.4");
  // Two rows of a pass: each has a choice of its own.
  const auto first = read(pairs, 0, kTokens, 1), second = read(pairs, 0, kTokens + 1, 2);
  EXPECT_EQ(first, read(own, 0, kTokens, 1));
  EXPECT_NE(first, second);
  ASSERT_NE(read(own, 1, kTokens, 3), first);
  ASSERT_NE(read(own, 1, kTokens + 1, 4), second);
  EXPECT_EQ(read(pairs, 1, kTokens, 3), first);
  EXPECT_EQ(read(pairs, 1, kTokens + 1, 4), second);
  EXPECT_EQ(read(pairs, 2, kTokens, 5), read(own, 2, kTokens, 5));  // it has no partner
  EXPECT_EQ(pairs.report().boxes_offered, 5 * 2 * kBlocks * kBlockBoxes);
  EXPECT_EQ(pairs.report().boxes_read, 5 * 2 * 14u);  // two fifths of 36
}

TEST_F(ReadingTest, AChoiceEndsWithItsPass) {
  TokenPolicy pairs = policy("oracle+keep=0.4+layers=pairs"), own = policy("oracle+keep=0.4");
  const auto first = read(pairs, 0, kTokens, 1);
  pairs.end_pass();
  EXPECT_EQ(read(pairs, 1, kTokens, 3), read(own, 1, kTokens, 3));
  read(pairs, 0, kTokens, 1);
  pairs.roll_back(kTokens, kBlocks);
  EXPECT_NE(read(pairs, 1, kTokens, 3), first);
}

TEST_F(ReadingTest, OfAPairOneLayerHasBoxes) {
  TokenPolicy pairs = policy("quest+keep=0.4+layers=pairs"), own = policy("quest+keep=0.4");
  for (std::uint32_t layer = 0; layer < 3; ++layer) {
    read(pairs, layer, kTokens, 1);
    read(own, layer, kTokens, 1);
  }
  EXPECT_GT(pairs.box_bytes(), 0u);
  EXPECT_EQ(3 * pairs.box_bytes(), 2 * own.box_bytes());
}

// The first query has nothing beside it; of a window of one each asks for itself.
TEST_F(ReadingTest, ActqkvAsksWithItsWindow) {
  TokenPolicy wide = policy("actqkv+keep=0.4+mass=1+window=8"), narrow = policy("actqkv+keep=0.4+mass=1+window=1");
  EXPECT_EQ(read(wide, 0, kTokens, 1), read(narrow, 0, kTokens, 1));
  std::size_t different = 0;
  for (std::uint64_t seed = 2; seed < 12; ++seed) {
    different += read(wide, 0, kTokens, seed) != read(narrow, 0, kTokens, seed) ? 1 : 0;
  }
  EXPECT_GT(different, 5u);
  wide.end_pass();
  // What did not happen is forgotten.
  TokenPolicy again = wide;
  const auto expected = read(wide, 0, kTokens, 20);
  for (std::uint64_t seed = 30; seed < 34; ++seed) read(again, 0, kTokens + 1, seed);
  again.roll_back(kTokens + 1, kBlocks);
  EXPECT_EQ(read(again, 0, kTokens, 20), expected);
}

// What replays of a prompt have shown stays while the prompt does.
TEST_F(ReadingTest, ReplaysGoOnWhereTheyStopped) {
  TokenPolicy policy(parse_policy("kvzip").value(), *core_), twin = policy;
  twin.begin_replay();
  const auto repeat = [&] {
    EXPECT_EQ(policy.begin_replays(500), 0u);
    policy.absorb_replay(twin, 500, 256);
    EXPECT_EQ(policy.begin_replays(500), 256u);
  };
  repeat();
  policy.roll_back(500, 7);
  EXPECT_EQ(policy.begin_replays(500), 256u) << "nothing of the prompt is gone";
  policy.trim(499);
  repeat();
  EXPECT_EQ(policy.begin_replays(564), 0u) << "it goes on, and is another prompt now";
  repeat();
  EXPECT_TRUE(policy.wants_replay(500));
  policy.set_planned_at(500);
  EXPECT_FALSE(policy.wants_replay(500)) << "what stays is decided";
  EXPECT_TRUE(policy.wants_replay(564));
}

TEST(TouchedTables, AreThoseThatNoLayerReadsThroughAWindow) {
  std::vector<LayerSpec> layers = like_layers(6, kShape);
  layers[1].window = 64;
  layers[2].kv_map = 0;
  layers[3].kv_map = 1;
  layers[5].kv_map = 4;
  layers[5].window = 64;
  EXPECT_EQ(touched_tables(layers), std::vector<bool>({true, false, false}));
  layers[5].window = 0;
  EXPECT_EQ(touched_tables(layers), std::vector<bool>({true, false, true}));
}

}  // namespace
}  // namespace cairn::cache

// SPDX-License-Identifier: Apache-2.0
// What a pass computes: the same bits in whatever order its rows come, and rewritten rows as if they had always been.
#include "cairn/cache/pass.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>

#include "cairn/testing/passes.h"

namespace cairn::pass_test {
namespace {

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

}  // namespace
}  // namespace cairn::pass_test

// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/kv_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <thread>
#include <vector>

#include "cairn/cache/cache_model_test-inl.h"

namespace cairn {
namespace {

using testing::append;
using testing::difference;
using testing::make_cache;
using testing::make_options;
using testing::model_of;
using testing::ModelToken;
using testing::stream;

TEST(KvCache, RefusesOptionsThatMakeNoSense) {
  KvCacheOptions options = make_options(1, 0);
  options.plan.layers.clear();
  options.layers.clear();
  EXPECT_EQ(KvCache::create(options).error().code, ErrorCode::kInvalidArgument);
  options = make_options(1, 0);
  options.plan.layers.pop_back();
  EXPECT_EQ(KvCache::create(options).error().code, ErrorCode::kInvalidArgument);
  options = make_options(1, 0);
  options.layers[1].shape.head_dim = 0;
  EXPECT_EQ(KvCache::create(options).error().code, ErrorCode::kInvalidArgument);
  options = make_options(1, 0);
  options.plan.layers[0].values = nullptr;
  EXPECT_EQ(KvCache::create(options).error().code, ErrorCode::kInvalidArgument);
  options = make_options(1, 0);
  options.eviction = "random";
  EXPECT_EQ(KvCache::create(options).error().code, ErrorCode::kInvalidArgument);
}

TEST(KvCache, ABudgetBelowOneBlockIsRefusedWithTheMinimum) {
  KvCacheOptions options = make_options(1, 0);
  const std::size_t least = options.budget_bytes;
  EXPECT_TRUE(KvCache::create(options));
  options.budget_bytes = least - 1;
  const auto refused = KvCache::create(options);
  EXPECT_EQ(refused.error().code, ErrorCode::kOutOfBudget);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr(std::to_string(least)));
}

TEST(KvCache, ReusesWholeBlocksButNeverTheWholePrompt) {
  const auto cache = make_cache(16, 16);
  const std::vector<TokenId> ids = stream(0, 0, 200);
  {
    Sequence sequence = cache->open(ids);
    EXPECT_EQ(sequence.size(), 0u);
    std::vector<ModelToken> model;
    ASSERT_TRUE(append(sequence, model, ids));
    EXPECT_EQ(sequence.block_keys().size(), 3u);
    EXPECT_EQ(sequence.block_keys()[0], block_key(cache->options().root, std::span(ids).first(kBlockTokens)));
  }
  EXPECT_EQ(cache->stats().index.blocks, 3u);
  for (std::size_t length : {0u, 1u, 64u, 65u, 128u, 129u, 192u, 193u, 200u}) {
    const Sequence warm = cache->open(std::span(ids).first(length));
    EXPECT_EQ(warm.size(), length == 0 ? 0 : (length - 1) / kBlockTokens * kBlockTokens) << length;
    EXPECT_EQ(warm.block_keys().size(), warm.size() / kBlockTokens);
    EXPECT_EQ(difference(*cache, warm, model_of(std::span(ids).first(warm.size()))), "");
  }
  EXPECT_EQ(cache->open(stream(1, 0, 300)).size(), 64u);  // the streams part at token 100
  cache->clear();
  EXPECT_EQ(cache->stats().bytes_used, 0u);
  EXPECT_EQ(cache->open(ids).size(), 0u);
}

TEST(KvCache, KeysThatTheCallerHasAreNotHashedAgain) {
  const auto cache = make_cache(16, 16);
  const std::vector<TokenId> ids = stream(0, 0, 200);
  std::vector<Digest> made_up(3);
  for (std::size_t i = 0; i < made_up.size(); ++i) made_up[i].bytes[0] = static_cast<std::uint8_t>(i + 1);
  std::vector<ModelToken> model;
  Sequence sequence = cache->open(ids, made_up);
  ASSERT_TRUE(append(sequence, model, std::span(ids).first(130)));
  ASSERT_TRUE(append(sequence, model, stream(1, 130, 70)));  // not the prompt any more
  ASSERT_EQ(sequence.block_keys().size(), 3u);
  EXPECT_EQ(sequence.block_keys()[1], made_up[1]);
  EXPECT_EQ(sequence.block_keys()[2], block_key(made_up[1], std::span(sequence.tokens()).subspan(128, 64)));
  EXPECT_EQ(cache->open(ids, made_up).size(), 128u);
}

TEST(KvCache, GeneratedBlocksAreAsReusableAsPromptBlocks) {
  const auto cache = make_cache(16, 16);
  const std::vector<TokenId> ids = stream(0, 0, 130);
  std::vector<ModelToken> model;
  Sequence sequence = cache->open(ids);
  for (TokenId id : ids) ASSERT_TRUE(append(sequence, model, std::span(&id, 1)));
  EXPECT_EQ(cache->open(ids).size(), 128u);
}

TEST(KvCache, EqualBlocksAreHeldOnce) {
  const auto cache = make_cache(16, 16);
  const std::vector<TokenId> ids = stream(0, 0, 128);
  std::vector<ModelToken> model_a, model_b;
  Sequence a = cache->open({}), b = cache->open({});
  ASSERT_TRUE(append(a, model_a, ids));
  const std::size_t once = cache->stats().bytes_used;
  ASSERT_TRUE(append(b, model_b, ids));
  EXPECT_EQ(cache->stats().bytes_used, once);
  EXPECT_EQ(a.pages(1)[0].keys, b.pages(1)[0].keys);
  EXPECT_EQ(difference(*cache, b, model_b), "");
}

TEST(KvCache, BlocksAtOtherPositionsAreNotPublished) {
  const auto cache = make_cache(16, 16);
  Sequence sequence = cache->open({});
  const std::vector<TokenId> ids = stream(0, 0, 128);
  std::vector<std::int32_t> positions(128);
  for (int i = 0; i < 128; ++i) positions[i] = i == 127 ? 500 : i;
  auto pass = testing::begin(sequence, positions);
  ASSERT_TRUE(pass);
  testing::store_tokens(*pass, model_of(ids));
  ASSERT_TRUE(pass->commit(ids));
  EXPECT_EQ(sequence.block_keys().size(), 1u);
  EXPECT_EQ(cache->stats().index.blocks, 1u);
  EXPECT_EQ(sequence.pages(0)[1].positions[63], 500);
}

TEST(KvCache, ForksShareEveryPageUntilOneAppends) {
  const auto cache = make_cache(16, 0);
  std::vector<ModelToken> model_a;
  Sequence a = cache->open({});
  ASSERT_TRUE(append(a, model_a, stream(0, 0, 100)));
  const std::size_t before = cache->stats().bytes_used;
  Sequence b = a.fork();
  EXPECT_EQ(cache->stats().bytes_used, before);
  std::vector<ModelToken> model_b = model_a;
  ASSERT_TRUE(append(b, model_b, stream(2, 100, 5)));
  ASSERT_TRUE(append(a, model_a, stream(1, 100, 3)));
  EXPECT_EQ(difference(*cache, a, model_a), "");
  EXPECT_EQ(difference(*cache, b, model_b), "");
  EXPECT_EQ(a.pages(0)[0].keys, b.pages(0)[0].keys);
  EXPECT_NE(a.pages(0)[1].keys, b.pages(0)[1].keys);
}

TEST(KvCache, TrimInsideAPublishedBlockLeavesItIntact) {
  const auto cache = make_cache(16, 16);
  const std::vector<TokenId> ids = stream(0, 0, 128);
  std::vector<ModelToken> model;
  Sequence sequence = cache->open({});
  ASSERT_TRUE(append(sequence, model, ids));
  EXPECT_EQ(sequence.trim(129).error().code, ErrorCode::kInvalidArgument);
  ASSERT_TRUE(sequence.trim(70));
  model.resize(70);
  EXPECT_EQ(sequence.block_keys().size(), 1u);
  ASSERT_TRUE(append(sequence, model, stream(2, 500, 20)));
  EXPECT_EQ(difference(*cache, sequence, model), "");
  std::vector<TokenId> prompt = ids;
  prompt.push_back(0);
  const Sequence warm = cache->open(prompt);
  EXPECT_EQ(warm.size(), 128u);
  EXPECT_EQ(difference(*cache, warm, model_of(ids)), "");
}

TEST(KvCache, APassWithoutRoomChangesNothingAndSaysWhatFits) {
  const auto cache = make_cache(2, 0);
  std::vector<ModelToken> model;
  Sequence sequence = cache->open({});
  ASSERT_TRUE(append(sequence, model, stream(0, 0, 50)));
  const std::vector<std::int32_t> positions(100, 0);
  const auto failed = testing::begin(sequence, positions);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kOutOfBudget);
  EXPECT_THAT(failed.error().message, ::testing::HasSubstr("78 of 100"));
  EXPECT_EQ(difference(*cache, sequence, model), "");
  EXPECT_TRUE(testing::begin(sequence, std::span(positions).first(78)));
}

TEST(KvCache, AForkThatCannotCopyItsTailSaysThatNothingFits) {
  const auto cache = make_cache(1, 0);
  std::vector<ModelToken> model;
  Sequence a = cache->open({});
  ASSERT_TRUE(append(a, model, stream(0, 0, 10)));
  std::optional<Sequence> b = a.fork();
  const auto failed = testing::begin(a, std::vector<std::int32_t>{10, 11});
  EXPECT_THAT(failed.error().message, ::testing::HasSubstr("0 of 2"));
  b.reset();
  EXPECT_TRUE(append(a, model, stream(0, 10, 2)));
  EXPECT_EQ(difference(*cache, a, model), "");
}

TEST(KvCache, MakesRoomFromTheIndexButKeepsWhatCannotHelp) {
  const auto cache = make_cache(4, 4);
  std::vector<ModelToken> model;
  {
    Sequence old = cache->open({});
    ASSERT_TRUE(append(old, model, stream(0, 0, 192)));
  }
  EXPECT_EQ(cache->stats().index.blocks, 3u);
  Sequence sequence = cache->open({});
  EXPECT_FALSE(testing::begin(sequence, std::vector<std::int32_t>(5 * 64)));  // never fits: nothing is evicted for it
  EXPECT_EQ(cache->stats().index.blocks, 3u);
  EXPECT_TRUE(testing::begin(sequence, std::vector<std::int32_t>(3 * 64)));
  EXPECT_EQ(cache->stats().index.blocks, 1u);
}

TEST(KvCache, MisuseIsAnError) {
  const auto cache = make_cache(4, 0);
  Sequence sequence = cache->open({});
  const std::vector<std::int32_t> positions = {0, 1};
  {
    ThreadPool pool(1);
    PassRunner other(2, pool);
    const PassRows again{&sequence, positions};
    auto pass = testing::begin(sequence, positions);
    ASSERT_TRUE(pass);
    EXPECT_EQ(other.begin({&again, 1}).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(sequence.trim(0).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(sequence.hide({}).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(pass->commit(stream(0, 0, 3)).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(sequence.pages(0).size(), 1u);
  }
  EXPECT_EQ(sequence.pages(0).size(), 0u);
  const PassRows twice[] = {{&sequence, positions}, {&sequence, positions}};
  EXPECT_EQ(testing::passes().begin(twice).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(sequence.pages(0).size(), 0u);
  auto nothing = testing::begin(sequence, {});
  ASSERT_TRUE(nothing);
  EXPECT_TRUE(nothing->commit({}));
}

TEST(KvCache, SequencesOutliveTheCache) {
  auto cache = make_cache(4, 4);
  std::vector<ModelToken> model;
  Sequence a = cache->open({});
  ASSERT_TRUE(append(a, model, stream(0, 0, 70)));
  cache.reset();
  EXPECT_TRUE(append(a, model, stream(0, 70, 10)));
  auto other = make_cache(2, 0);
  a = other->open({});  // the first cache goes with its last sequence
  EXPECT_EQ(a.size(), 0u);
}

TEST(KvCache, TheLastOfTwoForksMayWriteInPlaceAfterTheOtherCopied) {
  const auto cache = make_cache(8, 0);
  for (int round = 0; round < 100; ++round) {
    std::vector<ModelToken> model;
    Sequence a = cache->open({});
    ASSERT_TRUE(append(a, model, stream(0, 0, 30)));
    Sequence b = a.fork();
    const auto run = [&](Sequence sequence, int s) {
      std::vector<ModelToken> mine = model;
      EXPECT_TRUE(append(sequence, mine, stream(s, 500, 3)));
      EXPECT_EQ(difference(*cache, sequence, mine), "");
    };
    std::thread other(run, std::move(b), 1);
    run(std::move(a), 2);
    other.join();
  }
  EXPECT_EQ(cache->stats().bytes_used, 0u);
}

TEST(KvCache, ThreadsOpenForkAppendAndDrop) {
  const auto cache = make_cache(40, 12);
  std::vector<ModelToken> shared_model;
  Sequence shared = cache->open({});
  ASSERT_TRUE(append(shared, shared_model, stream(0, 0, 90)));
  std::vector<Sequence> forks;
  for (int t = 0; t < 4; ++t) forks.push_back(shared.fork());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t, fork = std::move(forks[t])]() mutable {
      std::vector<ModelToken> fork_model = shared_model;
      for (int i = 0; i < 40; ++i) {
        std::vector<TokenId> prompt = stream((i + t) % 3, 0, 60 + 37 * (i % 5));
        Sequence sequence = cache->open(prompt);
        std::vector<ModelToken> model = model_of(sequence.tokens());
        EXPECT_TRUE(append(sequence, model, std::span(prompt).subspan(sequence.size())));
        Sequence twin = sequence.fork();
        std::vector<ModelToken> twin_model = model;
        EXPECT_TRUE(append(twin, twin_model, stream(2, 700, 1 + i)));
        EXPECT_TRUE(sequence.trim(sequence.size() / 2));
        model.resize(sequence.size());
        EXPECT_TRUE(append(sequence, model, stream(1, 300, 9)));
        EXPECT_EQ(difference(*cache, sequence, model), "");
        EXPECT_EQ(difference(*cache, twin, twin_model), "");
        if (i % 8 == t) {
          fork_model.resize(90);
          EXPECT_TRUE(fork.trim(90));
          EXPECT_TRUE(append(fork, fork_model, stream(t, 90, 50)));
          EXPECT_EQ(difference(*cache, fork, fork_model), "");
        }
        if (i == 20) cache->clear();
        EXPECT_LE(cache->stats().bytes_used, cache->stats().bytes_budget);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(difference(*cache, shared, shared_model), "");
  cache->clear();
  shared = cache->open({});
  EXPECT_EQ(cache->stats().bytes_used, 0u);
}

}  // namespace
}  // namespace cairn

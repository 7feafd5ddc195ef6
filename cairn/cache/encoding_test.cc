// SPDX-License-Identifier: Apache-2.0
// Blocks that are encoded when they are full: what queries see, what is held, what is kept as it was.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>

#include "cairn/cache/kv_cache.h"
#include "cairn/cache/pass.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

constexpr PageShape kShape{.kv_heads = 2, .head_dim = 16};
constexpr std::uint32_t kLayers = 2;

class EncodedCache : public ::testing::Test {
 protected:
  void make(const std::string& spec, std::size_t budget = std::size_t{4} << 20) {
    KvCacheOptions options{.plan = make_plan(spec, {kLayers, kShape, nullptr}).value(),
                           .layers = like_layers(kLayers, kShape),
                           .root = {},
                           .budget_bytes = budget,
                           .index_budget_bytes = budget};
    cache_ = KvCache::create(options).value();
  }

  // Appends tokens as a forward pass does, with rows from `value`.
  template <class Value>
  Status append(Sequence& sequence, std::size_t count, Value value) {
    std::vector<std::int32_t> positions;
    std::vector<TokenId> ids;
    for (std::size_t i = 0; i < count; ++i) {
      positions.push_back(static_cast<std::int32_t>(sequence.size() + i));
      ids.push_back(positions.back());
    }
    const PassRows part{&sequence, positions};
    CAIRN_TRY(Pass pass, passes_.begin({&part, 1}));
    const std::size_t width = kShape.values_per_token();
    for (std::uint32_t l = 0; l < kLayers; ++l) {
      std::vector<float> rows(count * width);
      for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = value(sequence.size() + i / width, i % width);
      pass.append(l, rows.data(), rows.data());
      CAIRN_TRY_VOID(pass.attend({.layer = l, .rows = {}}));
    }
    return pass.commit(ids);
  }
  // Of new tokens with equal rows, encoded at the first layer.
  Pass begin(Sequence& sequence, std::size_t count, float value) {
    std::vector<std::int32_t> positions;
    for (std::size_t i = 0; i < count; ++i) positions.push_back(static_cast<std::int32_t>(sequence.size() + i));
    const PassRows part{&sequence, positions};
    Pass pass = passes_.begin({&part, 1}).value();
    const std::vector<float> rows(count * kShape.values_per_token(), value);
    pass.append(0, rows.data(), rows.data());
    EXPECT_TRUE(pass.attend({.layer = 0, .rows = {}}));
    return pass;
  }
  static float wave(std::size_t token, std::size_t channel) {
    return std::sin(static_cast<float>(token * 7 + channel * 3));
  }
  std::vector<bool> encoded(const Sequence& sequence, std::uint32_t layer = 0) {
    std::vector<bool> are;
    for (const PageView& view : sequence.pages(layer)) are.push_back(view.key_format->codec->encode != nullptr);
    return are;
  }

  ThreadPool pool_{1};
  PassRunner passes_{/*heads=*/2, pool_};
  std::unique_ptr<KvCache> cache_;
};

TEST_F(EncodedCache, FullBlocksAreEncodedAndTheTailIsNot) {
  make("kivi4-g32");
  Sequence sequence = cache_->open({});
  ASSERT_TRUE(append(sequence, 63, wave));
  EXPECT_EQ(encoded(sequence), std::vector<bool>({false}));
  ASSERT_TRUE(append(sequence, 1, wave));
  EXPECT_EQ(encoded(sequence), std::vector<bool>({true}));
  ASSERT_TRUE(append(sequence, 130, wave));
  EXPECT_EQ(encoded(sequence), std::vector<bool>({true, true, true, false}));
}

TEST_F(EncodedCache, QueriesSeeTheirOwnBlockAsItWasComputed) {
  make("kivi4-g32");
  Sequence sequence = cache_->open({});
  std::optional<Pass> pass = begin(sequence, 200, 0.5f);
  for (const std::size_t token : {0u, 63u, 64u, 191u, 192u, 199u}) {
    const SeenPages seen = pass->seen(0, token);
    ASSERT_EQ(seen.closed.size(), token / kBlockTokens);
    ASSERT_EQ(seen.open.size(), 1u);
    EXPECT_EQ(seen.open[0].key_format->codec->name, "raw_f16");
    for (const PageView& view : seen.closed) EXPECT_EQ(view.key_format->codec->name, "kivi4-g32");
  }
  pass.reset();
  EXPECT_EQ(sequence.pages(0).size(), 0u);
  EXPECT_EQ(cache_->stats().bytes_used, 0u);
}

TEST_F(EncodedCache, RollbackBringsBackTheOpenForm) {
  make("kivi2-g32");
  Sequence sequence = cache_->open({});
  ASSERT_TRUE(append(sequence, 60, wave));
  {
    const Pass pass = begin(sequence, 5, 3.0f);
    EXPECT_EQ(encoded(sequence, 0)[0], true);
  }
  EXPECT_EQ(encoded(sequence, 0), std::vector<bool>({false}));
  const PageView& view = sequence.pages(0)[0];
  std::vector<float> out(60 * kShape.values_per_token());
  view.key_format->codec->decode(*view.key_format, view.keys, 60, out.data());
  EXPECT_NEAR(out[59 * kShape.values_per_token()], wave(59, 0), 1e-3);
  ASSERT_TRUE(append(sequence, 10, wave));
  EXPECT_EQ(encoded(sequence), std::vector<bool>({true, false}));
}

TEST_F(EncodedCache, SinksAndRecentBlocksStayAsTheyWere) {
  make("kivi4-g32+sinks=1+recent=2");
  Sequence sequence = cache_->open({});
  ASSERT_TRUE(append(sequence, 5 * 64 + 3, wave));
  EXPECT_EQ(encoded(sequence), std::vector<bool>({false, true, true, false, false, false}));
  {
    const Pass pass = begin(sequence, 1, 1.0f);
    const SeenPages seen = pass.seen(0, 0);
    EXPECT_EQ(seen.closed.size(), 3u);
    EXPECT_EQ(seen.open.size(), 3u);
  }
  // What later queries see raw cannot be had from encoded blocks, so nothing is published.
  EXPECT_EQ(cache_->stats().index.blocks, 0u);
}

TEST_F(EncodedCache, ExactPrefillEncodesAtItsEnd) {
  make("kivi4-g32+prefill=exact");
  Sequence sequence = cache_->open({});
  sequence.begin_prefill();
  ASSERT_TRUE(append(sequence, 200, wave));
  EXPECT_EQ(encoded(sequence), std::vector<bool>({false, false, false, false}));
  ASSERT_TRUE(sequence.finish_prefill(pool_));
  EXPECT_EQ(encoded(sequence), std::vector<bool>({true, true, true, false}));
  ASSERT_TRUE(append(sequence, 60, wave));  // decoding encodes as it goes
  EXPECT_EQ(encoded(sequence), std::vector<bool>({true, true, true, true, false}));
  EXPECT_EQ(cache_->stats().index.blocks, 0u);
}

TEST_F(EncodedCache, BytesAreWhatIsHeld) {
  make("kivi2-g32/tok4");
  Sequence sequence = cache_->open({});
  ASSERT_TRUE(append(sequence, 4 * 64, wave));
  const CodecPlan& plan = cache_->options().plan;
  std::size_t block = 0;
  for (std::uint32_t l = 0; l < kLayers; ++l) {
    for (const PageSlot slot : kPageSlots) {
      const PageFormat format = plan.format(l, slot, kShape);
      block += format.codec->page_bytes(format);
    }
  }
  cache_->clear();
  EXPECT_EQ(sequence.bytes_held(), 4 * block);
  EXPECT_EQ(cache_->stats().bytes_used, 4 * block);
  EXPECT_EQ(cache_->bytes_per_token(), block / kBlockTokens);
  EXPECT_DOUBLE_EQ(
      plan.mean_bits(kShape),
      8.0 * static_cast<double>(block) / static_cast<double>(2 * kLayers * kBlockTokens * kShape.values_per_token()));
}

TEST_F(EncodedCache, TheBytesOfAPrefixAreTheMostItTakesOnItsWay) {
  for (const char* spec :
       {"raw_f16", "kivi4-g32", "kivi2-g32+sinks=1", "tok4+sinks=2", "tok8+recent=1", "kivi4-g32+prefill=exact"}) {
    make(spec);
    std::size_t most = 0;
    for (std::size_t tokens = 1; tokens <= 330; ++tokens) {
      make(spec);
      Sequence sequence = cache_->open({});
      sequence.begin_prefill();
      for (std::size_t t = 0; t < tokens; ++t) ASSERT_TRUE(append(sequence, 1, wave));
      ASSERT_TRUE(sequence.finish_prefill(pool_));
      most = std::max(most, cache_->bytes_for(tokens));
      ASSERT_EQ(cache_->stats().high_water, most) << spec << ", " << tokens;
    }
  }
}

TEST_F(EncodedCache, WhatNoCodeCanStandForKeepsItsBlockOpenAndIsCounted) {
  make("tok4");
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    const std::uint64_t before = cache_->stats().blocks_kept_raw;
    Sequence sequence = cache_->open({});
    const auto value = [bad](std::size_t token, std::size_t channel) {
      return token == 70 && channel == 3 ? bad : wave(token, channel);
    };
    ASSERT_TRUE(append(sequence, 3 * 64, value));
    EXPECT_EQ(encoded(sequence), std::vector<bool>({true, false, true}));
    EXPECT_EQ(cache_->stats().blocks_kept_raw - before, kLayers);
  }
}

TEST_F(EncodedCache, TrimmingInsideAnEncodedBlockLeavesWhatItDecodesTo) {
  make("kivi4-g32");
  Sequence sequence = cache_->open({});
  ASSERT_TRUE(append(sequence, 150, wave));
  ASSERT_TRUE(sequence.trim(100));
  EXPECT_EQ(encoded(sequence), std::vector<bool>({true, false}));
  EXPECT_FALSE(sequence.intact());
  const PageView& view = sequence.pages(1)[1];
  EXPECT_EQ(view.count, 36u);
  std::vector<float> out(36 * kShape.values_per_token());
  view.key_format->codec->decode(*view.key_format, view.keys, 36, out.data());
  EXPECT_NEAR(out[5], wave(64, 5), 0.1);
  ASSERT_TRUE(append(sequence, 50, wave));
  EXPECT_EQ(encoded(sequence), std::vector<bool>({true, true, false}));

  Sequence border = cache_->open({});
  ASSERT_TRUE(append(border, 150, wave));
  ASSERT_TRUE(border.trim(128));
  EXPECT_TRUE(border.intact());
}

TEST_F(EncodedCache, ForksEncodeForThemselvesAndShareWhatWasEncoded) {
  make("tok4");
  Sequence a = cache_->open({});
  ASSERT_TRUE(append(a, 100, wave));
  Sequence b = a.fork();
  ASSERT_TRUE(append(b, 40, wave));
  cache_->clear();  // equal tokens, so the index would give a the block of b
  ASSERT_TRUE(append(a, 40, [](std::size_t, std::size_t) { return 2.0f; }));
  EXPECT_EQ(encoded(a), encoded(b));
  EXPECT_EQ(a.pages(0)[0].keys, b.pages(0)[0].keys);
  EXPECT_NE(a.pages(0)[1].keys, b.pages(0)[1].keys);
}

// A codec that asks for attention counts from nothing when a block takes tokens again.
TEST_F(EncodedCache, ReopenedBlocksAreCountedAnew) {
  make("zip");
  Sequence sequence = cache_->open({});
  ASSERT_TRUE(append(sequence, 150, wave));
  ASSERT_TRUE(sequence.trim(100));
  ASSERT_NE(sequence.mass(0, 99), nullptr);
  ASSERT_TRUE(append(sequence, 28, wave));
  EXPECT_EQ(encoded(sequence), std::vector<bool>({true, true}));

  ASSERT_TRUE(append(sequence, 60, wave));
  { const Pass pass = begin(sequence, 4, 1.0f); }
  EXPECT_NE(sequence.mass(0, 187), nullptr);
  ASSERT_TRUE(append(sequence, 10, wave));
  EXPECT_EQ(encoded(sequence), std::vector<bool>({true, true, true, false}));
}

TEST_F(EncodedCache, AnExactPrefillThatCannotBeEncodedStaysAsItIs) {
  make("kivi4-g32+prefill=exact", 33 << 10);  // open blocks fit, their encoded form beside them does not
  Sequence sequence = cache_->open({});
  sequence.begin_prefill();
  ASSERT_TRUE(append(sequence, 128, wave));
  const Status status = sequence.finish_prefill(pool_);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kOutOfBudget);
  EXPECT_EQ(encoded(sequence), std::vector<bool>({false, false}));
}

TEST_F(EncodedCache, AnUnencodableTailIsNotTrustedAfterACut) {
  make("tok4");
  Sequence sequence = cache_->open({});
  ASSERT_TRUE(append(sequence, 60, [](std::size_t token, std::size_t) {
    return token == 50 ? std::numeric_limits<float>::infinity() : 1.0f;
  }));
  ASSERT_TRUE(sequence.trim(40));
  EXPECT_FALSE(sequence.intact());
}

TEST(CacheCore, RefusesHeadsThatACodecCannotHold) {
  for (const std::uint32_t dim : {12u, 520u}) {
    const PageShape shape{1, dim};
    EXPECT_EQ(make_plan("tok4", {1, shape, nullptr}).error().code, ErrorCode::kUnsupported);
    KvCacheOptions options{.plan = {}, .layers = like_layers(1, shape), .root = {}, .budget_bytes = 1 << 24};
    options.plan.layers = {{*find_codec("kivi4-g32"), *find_codec("raw_f16")}};
    EXPECT_EQ(KvCache::check(options).error().code, ErrorCode::kUnsupported);
  }
}

// Every step of a pass that cannot have its bytes changes nothing.
TEST_F(EncodedCache, ASmallBudgetIsKeptAndSaidWhenItIsFull) {
  make("kivi4-g32", 40 << 10);
  Sequence sequence = cache_->open({});
  Status status;
  std::size_t fitted = 0;
  while ((status = append(sequence, 32, wave))) fitted += 32;
  EXPECT_EQ(status.error().code, ErrorCode::kOutOfBudget);
  EXPECT_EQ(sequence.size(), fitted);
  EXPECT_GE(fitted, 64u);
  const KvCacheStats stats = cache_->stats();
  EXPECT_LE(stats.high_water, stats.bytes_budget);
}

TEST(CodecPlan, SaysWhatIsWrong) {
  const PlanTarget target{kLayers, kShape, nullptr};
  for (const auto& [spec, expected] :
       std::initializer_list<std::pair<std::string, std::string>>{{"zstd", "unknown codec 'zstd'"},
                                                                  {"tok4/tok4/tok4", "one for keys and one for values"},
                                                                  {"tok4+sinks=-1", "number of blocks"},
                                                                  {"tok4+sinks=", "number of blocks"},
                                                                  {"tok4+window=3", "unknown plan part"},
                                                                  {"tok4+prefill=lazy", "unknown plan part"},
                                                                  {"tok4+codebooks=/no/such/file", "/no/such/file"},
                                                                  {"/no/such/plan.toml", "/no/such/plan.toml"},
                                                                  {"", "unknown codec ''"}}) {
    const auto plan = make_plan(spec, target);
    ASSERT_FALSE(plan) << spec;
    EXPECT_NE(plan.error().message.find(expected), std::string::npos) << plan.error().message;
  }
}

TEST(CodecPlan, OneTextForOneMeaning) {
  const PlanTarget target{4, kShape, nullptr};
  EXPECT_EQ(make_plan("raw_f16", target)->canonical(), "k1v1*4");
  EXPECT_EQ(make_plan("raw_f16+sinks=3", target)->canonical(), "k1v1*4");
  EXPECT_EQ(make_plan("tok4/kivi2-g32+prefill=exact+sinks=2", target)->canonical(), "k35v18*4 sinks=2 prefill=exact");
  CodecPlan mixed = *make_plan("raw_f16", target);
  mixed.layers[3].values = *find_codec("tok8");
  EXPECT_EQ(mixed.canonical(), "k1v1*3 k1v36*1");
  EXPECT_TRUE(make_plan("tok4", target)->reusable());
  EXPECT_FALSE(make_plan("tok4+recent=1", target)->reusable());
  EXPECT_TRUE(make_plan("raw_f16+recent=1", target)->reusable());
}

}  // namespace
}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// What no code can stand for, in a layer whose other tokens a policy demotes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "cairn/cache/token_policy.h"
#include "cairn/testing/passes.h"

namespace cairn::pass_test {
namespace {

constexpr PageShape kShape{.kv_heads = 2, .head_dim = 16};

// Rows of tokens in chunks, where one key under the first KV head of layer 1 is what no code can stand for.
class UnencodableTest : public PassTest {
 protected:
  UnencodableTest() { layers_ = like_layers(2, kShape); }

  std::unique_ptr<KvCache> cache(const std::string& codec, std::size_t budget = std::size_t{16} << 20,
                                 bool reuse = false) const {
    return KvCache::create({.plan = make_plan(codec, {2, kShape, nullptr}).value(),
                            .layers = layers_,
                            .root = {},
                            .budget_bytes = budget,
                            .index_budget_bytes = reuse ? budget : 0})
        .value();
  }
  Sequence open(KvCache& cache, const std::string& policy) const {
    Sequence sequence = cache.open({});
    EXPECT_TRUE(sequence.set_policy(parse_policy(policy).value())) << policy;
    return sequence;
  }
  static bool is_of(const PageView& view, const std::string& codec) { return view.key_format->codec->name == codec; }
  Status try_to_compute(float bad, std::size_t bad_token, Sequence& sequence, std::size_t count) {
    const auto tokens = following(sequence.size(), count);
    const std::vector<std::int32_t> positions(tokens.begin(), tokens.end());
    const std::vector<TokenId> ids(tokens.begin(), tokens.end());
    const PassRows rows{&sequence, positions, {}};
    auto pass = passes_.begin({&rows, 1});
    if (!pass) return std::unexpected(pass.error());
    for (std::uint32_t l = 0; l < 2; ++l) {
      auto k = gather(What::kKey, l, tokens, kShape.values_per_token());
      const auto v = gather(What::kValue, l, tokens, kShape.values_per_token());
      for (std::size_t i = 0; l == 1 && i < count; ++i) {
        if (bad_token == kEvery || tokens[i] == bad_token) k[i * kShape.values_per_token()] = bad;
      }
      pass->append(l, k.data(), v.data());
      EXPECT_TRUE(pass->attend({.layer = l, .rows = {}}));
    }
    return pass->commit(ids);
  }
  void compute_with(float bad, std::size_t bad_token, Sequence& sequence, std::size_t count) {
    const Status status = try_to_compute(bad, bad_token, sequence, count);
    ASSERT_TRUE(status) << status.error().message;
  }
  std::size_t pages_of(const Sequence& sequence, std::uint32_t layer, const char* codec) {
    return static_cast<std::size_t>(
        std::ranges::count_if(sequence.pages(layer), [=](const PageView& view) { return is_of(view, codec); }));
  }
  static constexpr std::size_t kEvery = SIZE_MAX;  // each token has such a key
  static constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();
};

// The token stays, under the KV head that has such a value, and the rest of the layer is demoted. 76 recent tokens and
// 4 sinks stay in any case; 100 is none of them.
TEST_F(UnencodableTest, TheTokenStaysAndTheOthersAreDemoted) {
  for (const auto& [codec, demote, bad] : {std::tuple("raw_f32", "kivi2-g32", 1e30f),
                                           {"raw_f16", "kivi4-g64", kInfinity},
                                           {"raw_bf16", "kivi2-g32", -kInfinity},
                                           {"tok8", "tok4", kInfinity},
                                           {"kivi4-g64+sinks=2", "kivi2-g64", kInfinity}}) {
    for (const bool shared : {false, true}) {
      const std::string what = std::string(codec) + (shared ? " shared" : " own");
      const auto held = cache(codec);
      Sequence sequence = open(
          *held, std::string("streamingllm+keep=0.25+demote=") + demote + (shared ? "+heads=shared" : "+heads=own"));
      for (int i = 0; i < 5; ++i) compute_with(bad, 100, sequence, 64);
      ASSERT_TRUE(sequence.finish_prefill(pool_));
      EXPECT_EQ(held->stats().blocks_kept_raw, 1u) << what;
      EXPECT_EQ(pages_of(sequence, 0, demote), 4u) << what;
      EXPECT_EQ(pages_of(sequence, 1, demote), 4u) << what;
      for (std::uint32_t h = 0; h < kShape.kv_heads; ++h) {
        bool stays = false;
        for (const PageView& view : sequence.pages(1)) {
          const std::span positions(view.positions + std::size_t{h} * view.head_stride, view.count);
          stays = stays || (!is_of(view, demote) && std::ranges::count(positions, 100) > 0);
        }
        EXPECT_EQ(stays, h == 0 || shared) << what << " head " << h;
      }
      const PolicyReport report = sequence.policy_report();
      const std::size_t more = shared ? 2 : 1;
      ASSERT_EQ(report.layers.size(), 2u);
      EXPECT_EQ(report.layers[0].kept, 2 * 80u) << what;
      EXPECT_EQ(report.layers[1].kept, 2 * 80u + more) << what;
      EXPECT_EQ(report.tokens_kept, 4 * 80u + more) << what;
      EXPECT_EQ(report.tokens_demoted, 4 * 240u - more) << what;
    }
  }
}

// What stays in one chunk stays in the next, and is counted once.
TEST_F(UnencodableTest, StaysThroughLaterRetentions) {
  const auto held = cache("raw_f16");
  Sequence sequence = open(*held, "streamingllm+keep=0.25+chunk=128+demote=kivi2-g32");
  for (int i = 0; i < 6; ++i) compute_with(kInfinity, 70, sequence, 128);
  ASSERT_TRUE(sequence.finish_prefill(pool_));
  EXPECT_EQ(held->stats().blocks_kept_raw, 1u);
  EXPECT_TRUE(is_of(sequence.pages(1).front(), "raw_f16"));
  const PageView& first = sequence.pages(1).front();
  EXPECT_EQ(std::ranges::count(std::span(first.positions, first.count), 70), 1);
}

// Nor is it counted for those who find the block in the prefix index.
TEST_F(UnencodableTest, ACachedBlockIsCountedOnce) {
  for (const char* codec : {"raw_f16", "tok8"}) {
    const std::string demote = std::string(codec) == "tok8" ? "tok4" : "kivi2-g32";
    const PolicySpec policy = *parse_policy("keydiff+keep=0.25+demote=" + demote);
    const auto held = cache(codec, std::size_t{16} << 20, /*reuse=*/true);
    std::vector<TokenId> prompt(330);
    for (std::size_t t = 0; t < prompt.size(); ++t) prompt[t] = static_cast<TokenId>(t);
    for (int request = 0; request < 3; ++request) {
      Sequence sequence = held->open(prompt, {}, &policy);
      EXPECT_EQ(sequence.size(), request == 0 ? 0u : 320u);
      while (sequence.size() < prompt.size()) {
        compute_with(kInfinity, 100, sequence, std::min<std::size_t>(64, prompt.size() - sequence.size()));
      }
      ASSERT_TRUE(sequence.finish_prefill(pool_));
      EXPECT_GT(sequence.policy_report().tokens_demoted, 0u);
      EXPECT_EQ(held->stats().blocks_kept_raw, 1u) << codec << " " << request;
    }
  }
}

// One such token takes less than a page beyond what is planned, also where all of its layer was to be demoted.
TEST_F(UnencodableTest, WhatIsPlannedIsEnoughForOne) {
  const PolicySpec policy = *parse_policy("streamingllm+keep=0.25+chunk=128+demote=kivi2-g32");
  const auto ample = cache("raw_f16");
  const PlannedBytes planned =
      ample->planned_bytes(&policy, {.prompt = 1280, .from = 0, .to = 1280, .rows = 128, .replayed = 0});
  const auto tight = cache("raw_f16", std::max(planned.whole, planned.packed));
  Sequence sequence = open(*tight, policy.text);
  for (int i = 0; i < 10; ++i) ASSERT_NO_FATAL_FAILURE(compute_with(kInfinity, 70, sequence, 128));
  ASSERT_TRUE(sequence.finish_prefill(pool_));
  EXPECT_GT(sequence.policy_report().tokens_demoted, 0u);
}

// A retention that waits for room goes on with what it found, and gives what it would have given.
TEST_F(UnencodableTest, ARetentionWithoutRoomGoesOnAlike) {
  const auto held = cache("raw_f16");
  Sequence free = open(*held, "streamingllm+keep=0.25+demote=kivi2-g32");
  for (int i = 0; i < 5; ++i) compute_with(kInfinity, 100, free, 64);
  ASSERT_TRUE(free.finish_prefill(pool_));
  const auto tight = cache("raw_f16", held->bytes_for(320, 64) + held->bytes_for(128));
  Sequence sequence = open(*tight, "streamingllm+keep=0.25+demote=kivi2-g32");
  for (int i = 0; i < 5; ++i) compute_with(kInfinity, 100, sequence, 64);
  {
    Sequence in_the_way = tight->open({});
    compute_with(kInfinity, 1000, in_the_way, 128);
    ASSERT_FALSE(sequence.finish_prefill(pool_));
    ASSERT_FALSE(sequence.finish_prefill(pool_));
  }
  ASSERT_TRUE(sequence.finish_prefill(pool_));
  EXPECT_EQ(tight->stats().blocks_kept_raw, 1u);
  EXPECT_EQ(sequence.policy_report().tokens_kept, free.policy_report().tokens_kept);
  EXPECT_EQ(sequence.policy_report().tokens_demoted, free.policy_report().tokens_demoted);
  expect_same_pages(sequence, free);
}

// Plans count what a codec makes of its tokens. Where it can make nothing of any, blocks take more, in memory and
// beside it: neither ever holds more than it may, and the pass that finds no room says so and changes nothing.
TEST_F(UnencodableTest, NoBudgetIsExceededHoweverManyThereAre) {
  const PolicySpec policy = *parse_policy("recent+keep=0.25+unread=offload");
  const PlannedGrowth growth = {.prompt = 1280, .from = 0, .to = 1280, .rows = 64, .replayed = 0};
  const auto with_place = [&](std::size_t place, std::size_t budget) {
    return KvCache::create({.plan = make_plan("tok4", {2, kShape, nullptr}).value(),
                            .layers = layers_,
                            .root = {},
                            .budget_bytes = budget,
                            .offload = {.folder = "", .bytes = place}})
        .value();
  };
  const std::size_t ample = std::size_t{16} << 20;
  const std::size_t place = with_place(ample, ample)->planned_bytes(&policy, growth).beside;
  const std::size_t planned = with_place(place, ample)->planned_bytes(&policy, growth).whole;
  const std::size_t block = cache::CacheCore::tables_of(with_place(place, ample)->options()).front().open_bytes();
  for (const std::size_t bad : {std::size_t{70}, kEvery}) {
    const std::size_t budget = planned + (bad == kEvery ? 0 : block);  // one takes a block more
    const auto held = with_place(place, budget);
    Sequence sequence = open(*held, policy.text);
    Status status;
    while (status && sequence.size() < 1280) {
      const std::size_t before = sequence.size();
      status = try_to_compute(kNan, bad, sequence, 64);
      EXPECT_EQ(sequence.size(), before + (status ? 64 : 0));
      const KvCacheStats stats = held->stats();
      EXPECT_LE(stats.high_water, budget);
      EXPECT_LE(stats.bytes_offloaded, place);
    }
    EXPECT_EQ(sequence.size() == 1280, bad != kEvery);
    if (status) continue;
    EXPECT_EQ(status.error().code, ErrorCode::kOutOfBudget);
    EXPECT_TRUE(status.error().message.starts_with("the KV cache is full")) << status.error().message;
    EXPECT_GT(sequence.policy_report().not_offloaded, 0u);
    ASSERT_TRUE(sequence.trim(0));
    EXPECT_TRUE(try_to_compute(kNan, 70, sequence, 64));
  }
}

}  // namespace
}  // namespace cairn::pass_test

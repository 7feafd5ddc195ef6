// SPDX-License-Identifier: Apache-2.0
// Layers that hold different tokens: random drops between appends, forks and trims, beside lists of what each layer
// holds.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "cairn/cache/cache_model_test-inl.h"

namespace cairn {
namespace {

using namespace cairn::testing;

struct Ragged {
  Sequence sequence;
  std::vector<ModelToken> tokens;
  std::vector<std::vector<std::size_t>> dropped = std::vector<std::vector<std::size_t>>(kLayers);  // first tokens
};

bool holds(const Ragged& r, std::uint32_t layer, std::size_t token) {
  return !std::ranges::count(r.dropped[layer], token / kBlockTokens * kBlockTokens);
}

// Each layer's pages are exactly the tokens it has not dropped, with their positions.
void check(const KvCache&, const Ragged& r) {
  const std::size_t width = kShape.values_per_token();
  std::vector<float> keys(kBlockTokens * width), values(kBlockTokens * width);
  for (std::uint32_t l = 0; l < kLayers; ++l) {
    std::vector<std::size_t> expected;
    for (std::size_t t = 0; t < r.tokens.size(); ++t) {
      if (holds(r, l, t)) expected.push_back(t);
    }
    std::size_t next = 0;
    for (const PageView& view : r.sequence.pages(l)) {
      view.key_format->codec->decode(*view.key_format, view.keys, view.count, keys.data());
      view.value_format->codec->decode(*view.value_format, view.values, view.count, values.data());
      for (std::uint32_t slot = 0; slot < view.count; ++slot, ++next) {
        RC_ASSERT(next < expected.size());
        const ModelToken& token = r.tokens[expected[next]];
        const auto at = static_cast<std::ptrdiff_t>(slot * width);
        RC_ASSERT(view.positions[slot] == token.position);
        RC_ASSERT(view.min_position <= token.position && token.position <= view.max_position);
        RC_ASSERT(std::ranges::equal(model_row(token, l, PageSlot::kKeys), std::span(keys).subspan(at, width)));
        RC_ASSERT(std::ranges::equal(model_row(token, l, PageSlot::kValues), std::span(values).subspan(at, width)));
      }
    }
    RC_ASSERT(next == expected.size());
  }
}

void drop_some_block(Ragged& r) {
  if (r.tokens.size() < kBlockTokens) return;
  const auto layer = *rc::gen::inRange<std::uint32_t>(0, kLayers);
  const std::size_t first = *rc::gen::inRange<std::size_t>(0, r.tokens.size() / kBlockTokens) * kBlockTokens;
  const bool there = holds(r, layer, first);
  RC_ASSERT(r.sequence.drop_block(layer, first).has_value() == there);
  if (there) r.dropped[layer].push_back(first);
  RC_ASSERT(!r.sequence.intact());
}

// Hidden from every layer that still has them; forks made before still see them.
void hide_some_tokens(Ragged& r) {
  const auto count = *rc::gen::inRange<std::size_t>(0, 80);
  if (r.tokens.empty()) return;
  std::vector<std::size_t> tokens;
  for (std::size_t i = 0; i < count; ++i) tokens.push_back(*rc::gen::inRange<std::size_t>(0, r.tokens.size()));
  RC_ASSERT(r.sequence.hide(tokens).has_value());
  for (const std::size_t token : tokens) r.tokens[token].position = kHiddenPosition;
  RC_ASSERT(tokens.empty() || !r.sequence.intact());
  tokens.push_back(r.tokens.size());
  RC_ASSERT(!r.sequence.hide(tokens).has_value());  // beyond the end: nothing changes
}

void trim_somewhere(Ragged& r) {
  const auto keep = *rc::gen::inRange<std::size_t>(0, r.tokens.size() + 1);
  bool possible = true;
  for (std::uint32_t l = 0; l < kLayers; ++l)
    possible = possible && (keep % kBlockTokens == 0 || holds(r, l, keep - 1));
  RC_ASSERT(r.sequence.trim(keep).has_value() == possible);
  if (!possible) return;
  r.tokens.resize(keep);
  for (auto& layer : r.dropped) std::erase_if(layer, [=](std::size_t first) { return first >= keep; });
}

TEST(Ragged, RandomDropsBesideAModel) {
  EXPECT_TRUE(rc::check([] {
    const auto cache = make_cache(64, 0);
    {
      std::vector<Ragged> all;
      all.push_back({cache->open({}), {}});
      for (int step = 0; step < 30; ++step) {
        Ragged& r = all[*rc::gen::inRange<std::size_t>(0, all.size())];
        switch (*rc::gen::inRange(0, 7)) {
          case 0: drop_some_block(r); break;
          case 6: hide_some_tokens(r); break;
          case 1: trim_somewhere(r); break;
          case 2:
            if (all.size() < 3) {
              Ragged twin{r.sequence.fork(), r.tokens, r.dropped};
              all.push_back(std::move(twin));
            }
            break;
          case 3: {
            const std::int32_t position = static_cast<std::int32_t>(r.tokens.size());
            (void)begin(r.sequence, {&position, 1}).has_value();
            break;
          }
          default: {
            const auto ids = stream(*rc::gen::inRange(0, 3), r.tokens.size(), *rc::gen::inRange<std::size_t>(1, 150));
            if (r.tokens.size() < 500) (void)append(r.sequence, r.tokens, ids).has_value();
          }
        }
        for (const Ragged& one : all) check(*cache, one);
      }
    }
    RC_ASSERT(cache->stats().bytes_used == 0u);
  }));
}

// What was computed over less than everything must never be found by anybody.
TEST(Ragged, NothingIsPublishedAfterADrop) {
  const auto cache = make_cache(32, 16);
  Sequence sequence = cache->open({});
  std::vector<ModelToken> model;
  const auto ids = stream(0, 0, 5 * kBlockTokens);
  ASSERT_TRUE(append(sequence, model, std::span(ids).first(2 * kBlockTokens)));
  ASSERT_TRUE(sequence.drop_block(1, 0));
  Sequence fork = sequence.fork();
  auto forked = model;
  ASSERT_TRUE(append(sequence, model, std::span(ids).subspan(2 * kBlockTokens)));
  ASSERT_TRUE(append(fork, forked, std::span(ids).subspan(2 * kBlockTokens)));
  EXPECT_EQ(cache->open(ids).size(), 2 * kBlockTokens);
  EXPECT_EQ(cache->stats().index.inserted, 2u);
}

TEST(Ragged, NothingIsPublishedAfterHiding) {
  const auto cache = make_cache(32, 16);
  Sequence sequence = cache->open({});
  std::vector<ModelToken> model;
  const auto ids = stream(0, 0, 3 * kBlockTokens);
  ASSERT_TRUE(append(sequence, model, std::span(ids).first(kBlockTokens)));
  ASSERT_TRUE(sequence.hide(std::vector<std::size_t>{3}));
  ASSERT_TRUE(append(sequence, model, std::span(ids).subspan(kBlockTokens)));
  EXPECT_EQ(cache->open(ids).size(), std::size_t{kBlockTokens});
  EXPECT_EQ(cache->open(ids).pages(0).front().positions[3], 3);  // others see what was hidden here
  EXPECT_EQ(sequence.pages(0).front().positions[3], kHiddenPosition);
}

TEST(Ragged, OnlyFullBlocksThatAreThereCanBeDropped) {
  const auto cache = make_cache(8, 0);
  Sequence sequence = cache->open({});
  std::vector<ModelToken> model;
  ASSERT_TRUE(append(sequence, model, stream(0, 0, kBlockTokens + 5)));
  EXPECT_FALSE(sequence.drop_block(0, 1));             // not where a block begins
  EXPECT_FALSE(sequence.drop_block(0, kBlockTokens));  // the open tail
  EXPECT_FALSE(sequence.drop_block(kLayers, 0));       // no such layer
  const std::int32_t position = 69;
  {
    const auto pass = begin(sequence, {&position, 1});
    ASSERT_TRUE(pass);
    EXPECT_FALSE(sequence.drop_block(0, 0));
  }
  EXPECT_TRUE(sequence.intact());
  EXPECT_TRUE(sequence.drop_block(0, 0));
  EXPECT_FALSE(sequence.drop_block(0, 0));  // gone already
}

}  // namespace
}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/attention/attend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <numeric>

#include "cairn/attention/attend_plan.h"
#include "cairn/testing/attended_keys.h"

namespace cairn {
namespace {

using testing::exact_attention;
using testing::expect_near;
using testing::first_positions;
using testing::full_pages;
using Keys = testing::AttendedKeys;
using testing::random_floats;
using testing::same_bits;

std::vector<float> attended(const Keys& keys, std::uint32_t heads, const std::vector<float>& q,
                            const std::vector<std::int32_t>& positions, unsigned threads, std::uint32_t window = 0) {
  ThreadPool pool(threads);
  Attention attention;
  std::vector<float> out(q.size());
  const AttendRows rows[] = {{.q = q.data(),
                              .positions = positions.data(),
                              .rows = static_cast<std::uint32_t>(positions.size()),
                              .pages = keys.pages,
                              .more_pages = {},
                              .out = out.data()}};
  attention.attend(rows, {.shape = keys.shape, .heads = heads, .window = window}, pool);
  return out;
}

std::vector<double> exact(const Keys& keys, std::uint32_t heads, const std::vector<float>& q,
                          const std::vector<std::int32_t>& positions, std::uint32_t window = 0) {
  return exact_attention(keys, {.shape = keys.shape, .heads = heads, .window = window}, q, positions);
}

TEST(Attend, EqualsSoftmaxInDoubles) {
  for (const Codec& codec : codec_table()) {
    if (!codec.exact) continue;
    for (const std::size_t tokens : {1u, 64u, 130u, 1100u}) {
      const PageShape shape{2, 16};
      const Keys keys(shape, codec, full_pages(tokens), first_positions(tokens));
      const auto last = static_cast<std::int32_t>(tokens - 1);
      const std::vector<std::int32_t> rows = {0, last / 2, last};
      const auto q = random_floats(rows.size() * 6 * shape.head_dim, 3, 0.3f);
      expect_near(attended(keys, 6, q, rows, 2), exact(keys, 6, q, rows));
    }
  }
}

// Pages that are not full in the middle, positions that jump and go back: nothing but the positions masks.
TEST(Attend, MasksByPositionNotBySlot) {
  const Codec& codec = **find_codec("raw_f32");
  const PageShape shape{1, 8};
  std::vector<std::int32_t> positions(100);
  for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<std::int32_t>((i * 37) % 211);
  const std::uint32_t counts[] = {30, 1, 64, 5};
  const Keys keys(shape, codec, counts, positions);
  const std::vector<std::int32_t> rows = {0, 10, 36, 100, 211};
  const auto q = random_floats(rows.size() * 2 * shape.head_dim, 4);
  expect_near(attended(keys, 2, q, rows, 1), exact(keys, 2, q, rows));
}

// A window masks by position too: pages wholly behind it, wholly inside it, cut by it, and positions out of order.
TEST(Attend, AWindowHidesWhatLiesFurtherBack) {
  const Codec& codec = **find_codec("raw_f32");
  const PageShape shape{2, 16};
  const std::size_t tokens = 2500;
  auto shuffled = first_positions(tokens);
  for (std::size_t t = 0; t < tokens; ++t) shuffled[t] = static_cast<std::int32_t>(t * 37 % tokens);
  for (const auto& token_positions : {first_positions(tokens), shuffled}) {
    const Keys keys(shape, codec, full_pages(tokens), token_positions);
    const std::vector<std::int32_t> rows = {0, 63, 64, 130, 1023, 1024, 2000, 2300, 2499};
    const auto q = random_floats(rows.size() * 4 * shape.head_dim, 9, 0.3f);
    for (const std::uint32_t window : {1u, 2u, 63u, 64u, 65u, 1000u, 1024u, 2499u, 2500u, 4000000000u}) {
      const auto got = attended(keys, 4, q, rows, 1, window);
      expect_near(got, exact(keys, 4, q, rows, window));
      EXPECT_TRUE(same_bits(attended(keys, 4, q, rows, 8, window), got)) << window;
      for (std::size_t r = 0; r < rows.size(); ++r) {  // alone: whole pages are skipped that are masked in company
        const std::vector<float> one(q.begin() + r * 4 * shape.head_dim, q.begin() + (r + 1) * 4 * shape.head_dim);
        const std::span<const float> expected = std::span(got).subspan(r * 4 * shape.head_dim, one.size());
        EXPECT_TRUE(same_bits(attended(keys, 4, one, {rows[r]}, 2, window), expected)) << window << ", row " << r;
      }
      if (window >= tokens) {
        EXPECT_TRUE(same_bits(attended(keys, 4, q, rows, 2), got));
      }
    }
  }
}

// One Attention over layers of several shapes: what a layer gives does not depend on what came before.
TEST(Attend, UnlikeLayersShareTheScratchMemory) {
  const Codec& codec = **find_codec("raw_f16");
  ThreadPool pool(2);
  Attention attention;
  for (const PageShape shape : {PageShape{2, 16}, PageShape{8, 64}, PageShape{1, 128}, PageShape{2, 16}}) {
    const Keys keys(shape, codec, full_pages(1300), first_positions(1300));
    const std::vector<std::int32_t> positions = {100, 1299};
    const auto q = random_floats(positions.size() * 8 * shape.head_dim, 11, 0.3f);
    std::vector<float> out(q.size());
    const AttendRows rows = {.q = q.data(),
                             .positions = positions.data(),
                             .rows = 2,
                             .pages = keys.pages,
                             .more_pages = {},
                             .out = out.data()};
    attention.attend({&rows, 1}, {.shape = shape, .heads = 8}, pool);
    EXPECT_TRUE(same_bits(out, attended(keys, 8, q, positions, 1)));
  }
}

// Hidden tokens count for nothing, be it one, a page, or everything of a split.
TEST(Attend, HiddenTokensAreAsIfTheyWereNotThere) {
  const Codec& codec = **find_codec("raw_f32");
  const PageShape shape{1, 8};
  auto positions = first_positions(2500);
  for (std::size_t t = 0; t < positions.size(); ++t) {
    const bool split = t < kSplitPages * kBlockTokens, page = t / kBlockTokens == 20, some = t % 3 == 0;
    if (split || page || some) positions[t] = kHiddenPosition;
  }
  const Keys keys(shape, codec, full_pages(positions.size()), positions);
  const std::vector<std::int32_t> rows = {1200, 2000, 2498};
  const auto q = random_floats(rows.size() * 2 * shape.head_dim, 6);
  for (const unsigned threads : {1u, 2u}) {
    expect_near(attended(keys, 2, q, rows, threads), exact(keys, 2, q, rows));
  }
}

// One row alone, with one thread or eight, and inside a prefill of all rows: the same bits.
TEST(Attend, ARowDoesNotDependOnItsCompanyOrTheThreads) {
  const Codec& codec = **find_codec("raw_f16");
  const PageShape shape{2, 64};
  const std::uint32_t heads = 8;
  const std::size_t tokens = 2500, width = heads * shape.head_dim;
  const Keys keys(shape, codec, full_pages(tokens), first_positions(tokens));
  const auto positions = first_positions(tokens);
  const std::vector<std::int32_t> rows(positions.end() - 200, positions.end());
  const auto q = random_floats(rows.size() * width, 5, 0.3f);
  const auto together = attended(keys, heads, q, rows, 2);
  for (const std::size_t r : {0u, 1u, 63u, 64u, 199u}) {
    const std::vector<float> one(q.begin() + r * width, q.begin() + (r + 1) * width);
    const std::span<const float> expected(together.data() + r * width, width);
    for (const unsigned threads : {1u, 2u, 8u}) {
      EXPECT_TRUE(same_bits(attended(keys, heads, one, {rows[r]}, threads), expected)) << r << " " << threads;
    }
  }
}

// Sequences with some pages in common, attended together: the bits of each alone.
TEST(Attend, SharedPagesChangeNoBit) {
  for (const char* name : {"raw_f16", "tok4"}) {
    const Codec& codec = **find_codec(name);
    for (const auto& [kv_heads, group] : {std::pair{2u, 4u}, {8u, 4u}, {3u, 1u}, {1u, 7u}}) {
      const PageShape shape{kv_heads, 32};
      const std::uint32_t heads = kv_heads * group;
      const auto counted = [](std::size_t tokens) {
        std::vector<std::int32_t> positions(tokens);
        std::iota(positions.begin(), positions.end(), 0);
        return positions;
      };
      const std::size_t shared_tokens = 40 * kBlockTokens;  // two whole splits and a half
      const Keys document(shape, codec, full_pages(shared_tokens), counted(shared_tokens));
      // Some share everything, some only the first split, one nothing, one is a prefill chunk.
      struct Asked {
        std::vector<PageView> pages;
        std::vector<std::int32_t> positions;
        std::vector<float> q, out;
      };
      std::vector<Asked> all;
      std::deque<Keys> tails;
      for (std::uint32_t i = 0; i < 9; ++i) {
        const std::size_t shared_pages = i < 5 ? 40 : i < 7 ? 20 : i == 7 ? 0 : 40;
        const std::size_t tail_tokens = 30 + 50 * i, first = shared_pages * kBlockTokens;
        std::vector<std::int32_t> tail_positions(tail_tokens);
        std::iota(tail_positions.begin(), tail_positions.end(), static_cast<std::int32_t>(first));
        const Keys& tail = tails.emplace_back(shape, codec, full_pages(tail_tokens), tail_positions);
        Asked& asked = all.emplace_back();
        asked.pages.assign(document.pages.begin(), document.pages.begin() + static_cast<std::ptrdiff_t>(shared_pages));
        asked.pages.insert(asked.pages.end(), tail.pages.begin(), tail.pages.end());
        const std::size_t rows = i == 8 ? 30 : 1 + i % 2;
        for (std::size_t r = 0; r < rows; ++r) {
          asked.positions.push_back(static_cast<std::int32_t>(first + tail_tokens - rows + r));
        }
        if (i == 4) asked.positions[0] = 1500;  // sees only part of a split that others see whole
        asked.q = random_floats(rows * heads * shape.head_dim, 100 + i);
        asked.out.resize(asked.q.size());
      }
      for (const unsigned threads : {1u, 2u, 5u}) {
        ThreadPool pool(threads);
        Attention attend;
        const AttendLayer layer{.shape = shape, .heads = heads};
        std::vector<AttendRows> batch;
        for (Asked& asked : all) {
          std::ranges::fill(asked.out, -1.0f);
          batch.push_back({.q = asked.q.data(),
                           .positions = asked.positions.data(),
                           .rows = static_cast<std::uint32_t>(asked.positions.size()),
                           .pages = asked.pages,
                           .more_pages = {},
                           .out = asked.out.data()});
        }
        EXPECT_GE(attention::shared_splits(batch, 0, 64 / group).size(), 2u);
        attend.attend(batch, layer, pool);
        for (std::size_t i = 0; i < all.size(); ++i) {
          std::vector<float> alone(all[i].out.size());
          AttendRows rows = batch[i];
          rows.out = alone.data();
          attend.attend({&rows, 1}, layer, pool);
          EXPECT_EQ(std::memcmp(alone.data(), all[i].out.data(), alone.size() * sizeof(float)), 0)
              << name << " heads " << heads << " threads " << threads << " sequence " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace cairn

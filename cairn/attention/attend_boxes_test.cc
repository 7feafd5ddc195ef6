// SPDX-License-Identifier: Apache-2.0
// Rows that read some boxes of their pages: beside plain loops over the tokens of these, and beside pages whose other
// tokens are hidden.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/base/random.h"
#include "cairn/testing/attended_keys.h"

namespace cairn {
namespace {

using testing::AttendedKeys;
using testing::exact_attention;
using testing::expect_near;
using testing::first_positions;
using testing::full_pages;
using testing::random_floats;
using testing::same_bits;

constexpr PageShape kShape{3, 32};
constexpr std::uint32_t kHeads = 6;
constexpr std::size_t kWidth = std::size_t{kHeads} * kShape.head_dim;

// [pages, kv_heads]. Some pages are not read at all, and of a whole split the second head reads nothing; the box of
// the first token is always read, so that every row has something to see.
std::vector<std::uint8_t> some_boxes(std::size_t pages, std::uint64_t seed) {
  SeededRandom random(seed, "boxes");
  std::vector<std::uint8_t> reads(pages * kShape.kv_heads);
  for (std::size_t p = 0; p < pages; ++p) {
    const bool page = random.below(4) != 0;
    for (std::uint32_t h = 0; h < kShape.kv_heads; ++h) {
      std::uint8_t& boxes = reads[p * kShape.kv_heads + h];
      boxes = page ? static_cast<std::uint8_t>(random.below(kAllBoxes + 1)) : 0;
      if (h == 1 && p / kSplitPages == 1) boxes = 0;
      if (p == 0) boxes |= 1;
    }
  }
  return reads;
}

struct Attended {
  std::vector<float> out, softmax;
};

// The last of the pages are more_pages.
Attended attended(const AttendedKeys& keys, std::span<const PageView> pages, const AttendLayer& layer,
                  const std::vector<float>& q, const std::vector<std::int32_t>& positions, unsigned threads,
                  const std::uint8_t* reads, std::size_t more = 1, const float* rest = nullptr) {
  ThreadPool pool(threads);
  Attention attention;
  Attended got{std::vector<float>(q.size()), std::vector<float>(positions.size() * kHeads * 2)};
  const AttendRows rows = {.q = q.data(),
                           .positions = positions.data(),
                           .rows = static_cast<std::uint32_t>(positions.size()),
                           .pages = pages.first(keys.pages.size() - more),
                           .more_pages = pages.last(more),
                           .out = got.out.data(),
                           .softmax = got.softmax.data(),
                           .reads = reads,
                           .rest = rest};
  attention.attend({&rows, 1}, layer, pool);
  return got;
}

// Positions of each KV head's own, where what it does not read is hidden.
struct Hidden {
  std::vector<std::vector<std::int32_t>> positions;
  std::vector<PageView> pages;

  Hidden(const AttendedKeys& keys, const std::vector<std::uint8_t>& reads) : pages(keys.pages) {
    for (std::size_t p = 0; p < pages.size(); ++p) {
      PageView& page = pages[p];
      auto& own = positions.emplace_back(std::size_t{kShape.kv_heads} * kBlockTokens, kHiddenPosition);
      for (std::uint32_t h = 0; h < kShape.kv_heads; ++h) {
        for (std::uint32_t t = 0; t < page.count; ++t) {
          const bool read = (reads[p * kShape.kv_heads + h] >> (t / kBoxTokens) & 1) != 0;
          if (read) own[h * kBlockTokens + t] = page.positions[t];
        }
      }
      page.max_position = kHiddenPosition;
      page.head_stride = kBlockTokens;
    }
    for (std::size_t p = 0; p < pages.size(); ++p) pages[p].positions = positions[p].data();
  }
};

TEST(AttendBoxes, EqualsPlainAttentionOverTheTokensRead) {
  for (const Codec& codec : codec_table()) {
    SCOPED_TRACE(codec.name);
    for (const std::size_t tokens : {130u, 1216u, 2500u}) {  // one split, two, and three
      if (tokens == 2500 && !codec.exact && std::string(codec.name) != "tok4") continue;
      const AttendedKeys keys(kShape, codec, full_pages(tokens), first_positions(tokens));
      const auto last = static_cast<std::int32_t>(tokens - 1);
      const std::vector<std::int32_t> rows = {0, 15, 16, last / 2, last};
      const auto q = random_floats(rows.size() * kWidth, 3, 0.3f);
      for (std::uint64_t seed = 0; seed < 3; ++seed) {
        const std::vector<std::uint8_t> reads = some_boxes(keys.pages.size(), seed);
        const auto is_read = [&](std::size_t head, std::size_t t) {
          return (reads[t / kBlockTokens * kShape.kv_heads + head] >> (t % kBlockTokens / kBoxTokens) & 1) != 0;
        };
        const Hidden hidden(keys, reads);
        for (const float cap : {0.0f, 2.0f}) {
          const AttendLayer layer{.shape = kShape, .heads = kHeads, .score_cap = cap, .basis = keys.basis()};
          const Attended got = attended(keys, keys.pages, layer, q, rows, 1, reads.data());
          // Codecs that are not exact also round what meets their codes.
          expect_near(got.out, exact_attention(keys, layer, q, rows, is_read), codec.exact ? 2e-5 : 0.03);
          const Attended same = attended(keys, hidden.pages, layer, q, rows, 1, nullptr);
          EXPECT_TRUE(same_bits(got.out, same.out));
          EXPECT_TRUE(same_bits(got.softmax, same.softmax));
          for (const unsigned threads : {2u, 5u}) {
            const Attended other = attended(keys, keys.pages, layer, q, rows, threads, reads.data(), threads - 2);
            EXPECT_TRUE(same_bits(other.out, got.out)) << threads;
            EXPECT_TRUE(same_bits(other.softmax, got.softmax)) << threads;
          }
        }
      }
    }
  }
}

// One row alone and inside a chunk of many: the same bits.
TEST(AttendBoxes, ARowDoesNotDependOnItsCompany) {
  const std::size_t tokens = 2500;
  const AttendedKeys keys(kShape, **find_codec("raw_f16"), full_pages(tokens), first_positions(tokens));
  const AttendLayer layer{.shape = kShape, .heads = kHeads};
  const std::vector<std::uint8_t> reads = some_boxes(keys.pages.size(), 9);
  std::vector<std::int32_t> rows(200);
  std::iota(rows.begin(), rows.end(), static_cast<std::int32_t>(tokens - rows.size()));
  const auto q = random_floats(rows.size() * kWidth, 5, 0.3f);
  const Attended together = attended(keys, keys.pages, layer, q, rows, 2, reads.data());
  for (const std::size_t r : {0u, 63u, 64u, 199u}) {
    const auto from = q.begin() + static_cast<std::ptrdiff_t>(r * kWidth);
    const std::vector<float> one(from, from + kWidth);
    for (const unsigned threads : {1u, 2u, 8u}) {
      EXPECT_TRUE(same_bits(attended(keys, keys.pages, layer, one, {rows[r]}, threads, reads.data()).out,
                            std::span(together.out).subspan(r * kWidth, kWidth)))
          << r << ' ' << threads;
    }
  }
}

TEST(AttendBoxes, AllOfThemAreTheBitsOfNone) {
  for (const Codec& codec : codec_table()) {
    SCOPED_TRACE(codec.name);
    const std::size_t tokens = 1216;
    const AttendedKeys keys(kShape, codec, full_pages(tokens), first_positions(tokens));
    const std::vector<std::int32_t> rows = {0, 600, 1200};
    const auto q = random_floats(rows.size() * kWidth, 7, 0.3f);
    const std::vector<std::uint8_t> all(keys.pages.size() * kShape.kv_heads, kAllBoxes);
    const AttendLayer layer{.shape = kShape, .heads = kHeads, .basis = keys.basis()};
    const Attended plain = attended(keys, keys.pages, layer, q, rows, 2, nullptr);
    const Attended got = attended(keys, keys.pages, layer, q, rows, 2, all.data());
    EXPECT_TRUE(same_bits(got.out, plain.out));
    EXPECT_TRUE(same_bits(got.softmax, plain.softmax));
  }
}

// Per query head of each row: what stands for the others counts in units of the sum over what is read, whatever splits
// and threads that came from; a sink joins afterwards and is not in these units.
TEST(AttendBoxes, WhatStandsForTheOthersJoinsBeforeASink) {
  const std::size_t tokens = 2500;
  const std::vector<std::int32_t> rows = {70, 1300, 2499};
  const auto q = random_floats(rows.size() * kWidth, 7, 0.3f);
  const std::vector<float> sinks = random_floats(kHeads, 8);
  std::vector<float> rest = random_floats(rows.size() * kHeads * (1 + kShape.head_dim), 9);
  for (std::size_t i = 0; i < rest.size(); i += 1 + kShape.head_dim) rest[i] = std::abs(rest[i]);
  for (const char* codec : {"raw_f16", "tok4"}) {
    const AttendedKeys keys(kShape, **find_codec(codec), full_pages(tokens), first_positions(tokens));
    const std::vector<std::uint8_t> reads = some_boxes(keys.pages.size(), 4);
    AttendLayer layer{.shape = kShape, .heads = kHeads, .basis = keys.basis()};
    const Attended plain = attended(keys, keys.pages, layer, q, rows, 2, reads.data());
    for (const bool sink : {false, true}) {
      if (sink) layer.sinks = sinks;
      const Attended got = attended(keys, keys.pages, layer, q, rows, 1, reads.data(), 1, rest.data());
      std::vector<double> expected(q.size());
      for (std::size_t head = 0; head < rows.size() * kHeads; ++head) {
        const double greatest = double{plain.softmax[2 * head]}, sum = double{plain.softmax[2 * head + 1]};
        std::vector<float> own(rest.begin() + static_cast<std::ptrdiff_t>(head * (1 + kShape.head_dim)),
                               rest.begin() + static_cast<std::ptrdiff_t>((head + 1) * (1 + kShape.head_dim)));
        layer.basis.values.turn_outputs_back(static_cast<std::uint32_t>(head % kHeads / (kHeads / kShape.kv_heads)),
                                             std::span(own).subspan(1));
        double total = sum * (1 + double{own[0]});
        if (sink) total += std::exp(double{sinks[head % kHeads]} - greatest);
        for (std::size_t c = 0; c < kShape.head_dim; ++c) {
          const std::size_t at = head * kShape.head_dim + c;
          expected[at] = sum * (double{plain.out[at]} + double{own[1 + c]}) / total;
        }
        const double all = double{got.softmax[2 * head + 1]} * std::exp(double{got.softmax[2 * head]} - greatest);
        EXPECT_NEAR(all, total, 1e-4 * total);
      }
      expect_near(got.out, expected, 1e-4);
      for (const unsigned threads : {2u, 5u}) {
        const Attended other =
            attended(keys, keys.pages, layer, q, rows, threads, reads.data(), threads - 2, rest.data());
        EXPECT_TRUE(same_bits(other.out, got.out)) << threads;
      }
    }
    layer.sinks = {};
    const std::vector<float> nothing(rest.size());
    EXPECT_EQ(attended(keys, keys.pages, layer, q, rows, 2, reads.data(), 1, nothing.data()).out, plain.out);
  }
}

}  // namespace
}  // namespace cairn

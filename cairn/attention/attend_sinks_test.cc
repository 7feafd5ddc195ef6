// SPDX-License-Identifier: Apache-2.0
// Attention sinks: beside plain loops, and the same bits however the work is divided.
#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <limits>
#include <string>

#include "cairn/attention/attend.h"
#include "cairn/attention/attend_plan.h"
#include "cairn/attention/signals.h"
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

constexpr PageShape kShape{2, 32};
constexpr std::uint32_t kHeads = 6;
constexpr std::size_t kWidth = std::size_t{kHeads} * kShape.head_dim;

// Far below every score, far above, and between.
const std::vector<float> kSinks = {-30.0f, 2.0f, 6.0f, 0.0f, 9.0f, 4.0f};

AttendLayer layer_of(const AttendedKeys& keys, std::span<const float> sinks) {
  return {.shape = keys.shape, .heads = kHeads, .sinks = sinks, .basis = keys.basis()};
}

std::vector<float> attended(const AttendedKeys& keys, const AttendLayer& layer, const std::vector<float>& q,
                            const std::vector<std::int32_t>& positions, unsigned threads, float* softmax = nullptr) {
  ThreadPool pool(threads);
  Attention attention;
  std::vector<float> out(q.size());
  const AttendRows rows = {.q = q.data(),
                           .positions = positions.data(),
                           .rows = static_cast<std::uint32_t>(positions.size()),
                           .pages = keys.pages,
                           .more_pages = {},
                           .out = out.data(),
                           .softmax = softmax};
  attention.attend({&rows, 1}, layer, pool);
  return out;
}

// What a sink leaves of the outputs without one: codecs that round queries do so in both.
std::vector<double> shares_of(const std::vector<float>& out, const std::vector<float>& softmax) {
  std::vector<double> left(out.begin(), out.end());
  for (std::size_t i = 0; i < left.size(); ++i) {
    const std::size_t head = i / kShape.head_dim;
    const double tokens = softmax[2 * head + 1] * std::exp(static_cast<double>(softmax[2 * head]));
    left[i] *= tokens / (tokens + std::exp(static_cast<double>(kSinks[head % kHeads])));
  }
  return left;
}

TEST(AttentionSinks, TakeTheirShareUnderEveryCodec) {
  for (const Codec& codec : codec_table()) {
    SCOPED_TRACE(codec.name);
    for (const std::size_t tokens : {64u, 1216u}) {  // one split, and two
      const AttendedKeys keys(kShape, codec, full_pages(tokens), first_positions(tokens));
      const auto last = static_cast<std::int32_t>(tokens - 1);
      const std::vector<std::int32_t> rows = {0, last / 2, last};
      const auto q = random_floats(rows.size() * kWidth, 3, 0.3f);
      AttendLayer layer = layer_of(keys, kSinks);
      for (const auto& [window, cap] : {std::pair{0u, 0.0f}, {40u, 0.0f}, {0u, 2.0f}, {100u, 1.0f}}) {
        layer.window = window;
        layer.score_cap = cap;
        const auto got = attended(keys, layer, q, rows, 2);
        if (codec.exact) expect_near(got, exact_attention(keys, layer, q, rows));
        AttendLayer plain = layer;
        plain.sinks = {};
        std::vector<float> softmax(rows.size() * kHeads * 2);
        const auto without = attended(keys, plain, q, rows, 2, softmax.data());
        expect_near(got, shares_of(without, softmax), 1e-6);
      }
    }
  }
}

// One row alone, with some threads and another division along the keys, and inside a prefill: the same bits.
TEST(AttentionSinks, JoinOnceHoweverTheKeysAreDivided) {
  for (const char* name : {"raw_f16", "tok4"}) {
    const std::size_t tokens = 2500;
    const AttendedKeys keys(kShape, **find_codec(name), full_pages(tokens), first_positions(tokens));
    for (const std::uint32_t window : {0u, 128u, 1500u}) {
      AttendLayer layer = layer_of(keys, kSinks);
      layer.window = window;
      std::vector<std::int32_t> rows(200);
      std::iota(rows.begin(), rows.end(), static_cast<std::int32_t>(tokens - rows.size()));
      const auto q = random_floats(rows.size() * kWidth, 5, 0.3f);
      const auto together = attended(keys, layer, q, rows, 2);
      for (const std::size_t r : {0u, 63u, 64u, 199u}) {
        const std::vector<float> one(q.begin() + r * kWidth, q.begin() + (r + 1) * kWidth);
        for (const unsigned threads : {1u, 2u, 8u}) {
          EXPECT_TRUE(same_bits(attended(keys, layer, one, {rows[r]}, threads),
                                std::span(together).subspan(r * kWidth, kWidth)))
              << name << " window " << window << " row " << r << " threads " << threads;
        }
      }
    }
  }
}

// Sequences that have the pages of a whole split in common, attended together: the bits of each alone.
TEST(AttentionSinks, SharedSplitsChangeNoBit) {
  const std::size_t tokens = 2 * kSplitPages * kBlockTokens + 20;
  const AttendedKeys keys(kShape, **find_codec("tok4"), full_pages(tokens), first_positions(tokens));
  const AttendLayer layer = layer_of(keys, kSinks);
  const auto last = static_cast<std::int32_t>(tokens - 1);
  const std::vector<std::int32_t> positions = {last, last - 3, last - 10};
  const auto q = random_floats(positions.size() * kWidth, 7, 0.3f);
  for (const unsigned threads : {1u, 2u, 5u}) {
    std::vector<float> out(q.size());
    std::vector<AttendRows> batch;
    for (std::size_t i = 0; i < positions.size(); ++i) {
      batch.push_back({.q = q.data() + i * kWidth,
                       .positions = positions.data() + i,
                       .rows = 1,
                       .pages = keys.pages,
                       .more_pages = {},
                       .out = out.data() + i * kWidth});
    }
    EXPECT_EQ(attention::shared_splits(batch, 0, 64 / (kHeads / kShape.kv_heads)).size(), 2u);
    ThreadPool pool(threads);
    Attention attention;
    attention.attend(batch, layer, pool);
    EXPECT_TRUE(same_bits(out, attended(keys, layer, q, positions, 1))) << threads;
  }
}

// The softmax state counts the sink, so that the mass of the tokens is what the sink has left.
TEST(AttentionSinks, AreInTheSoftmaxStateAndNotInTheMass) {
  ThreadPool pool(1);
  const AttendedKeys keys({1, 32}, **find_codec("raw_f32"), full_pages(64), first_positions(64));
  const std::vector<float> sinks = {3.0f, -2.0f};
  const AttendLayer layer{.shape = keys.shape, .heads = 2, .sinks = sinks};
  const std::vector<std::int32_t> position = {63};
  const auto q = random_floats(2 * 32, 8, 0.3f);
  std::vector<float> softmax(4);
  attended(keys, layer, q, position, 1, softmax.data());
  double share = 0;
  for (std::size_t h = 0; h < 2; ++h) {
    double greatest = static_cast<double>(sinks[h]);
    std::vector<double> scores;
    for (std::size_t t = 0; t < 64; ++t) {
      double score = 0;
      for (std::size_t d = 0; d < 32; ++d) score += static_cast<double>(q[h * 32 + d]) * keys.k[t * 32 + d];
      scores.push_back(score);
      greatest = std::max(greatest, score);
    }
    double tokens = 0;
    for (const double score : scores) tokens += std::exp(score - greatest);
    const double total = tokens + std::exp(static_cast<double>(sinks[h]) - greatest);
    EXPECT_NEAR(softmax[2 * h], greatest, 1e-5);
    EXPECT_NEAR(softmax[2 * h + 1], total, 1e-4);
    share += tokens / total;
  }
  AttentionMass mass;
  mass.collect(1);
  std::vector<float> out(q.size());
  const AttendRows row = {.q = q.data(),
                          .positions = position.data(),
                          .rows = 1,
                          .pages = keys.pages,
                          .more_pages = {},
                          .out = out.data(),
                          .softmax = softmax.data()};
  mass.add(row, keys.pages[0], layer, pool);
  double counted = 0;  // means() divides by how many queries of the block see a token
  for (std::size_t t = 0; t < 64; ++t) counted += static_cast<double>(mass.means(1)[t]) * static_cast<double>(64 - t);
  EXPECT_NEAR(counted, share, 1e-4);
}

TEST(AttentionSinks, OfMinusInfinityAreNone) {
  const std::size_t tokens = 1100;
  const AttendedKeys keys(kShape, **find_codec("raw_f16"), full_pages(tokens), first_positions(tokens));
  const std::vector<float> none(kHeads, -std::numeric_limits<float>::infinity());
  const std::vector<std::int32_t> rows = {0, 500, 1099};
  const auto q = random_floats(rows.size() * kWidth, 9, 0.3f);
  EXPECT_TRUE(
      same_bits(attended(keys, layer_of(keys, none), q, rows, 1), attended(keys, layer_of(keys, {}), q, rows, 1)));
}

}  // namespace
}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// What is special to learnt axes: their basis, the tables that are refused, and first tokens that stay exact.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "cairn/codec/axes_table.h"
#include "cairn/codec/codec.h"
#include "cairn/testing/codec_pages.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

using testing::make_page;
using testing::PageMemory;
using testing::random_floats;

constexpr PageShape kShape{.kv_heads = 3, .head_dim = 48};
constexpr std::uint32_t kDim = kShape.head_dim;

const Codec& axes() {
  return **find_codec("axes");
}

double dot(const float* a, const float* b) {
  double sum = 0;
  for (std::uint32_t d = 0; d < kDim; ++d) sum += double{a[d]} * b[d];
  return sum;
}

TEST(Basis, KeepsProductsAndTurnsBack) {
  for (const Basis& basis :
       {Basis(), Basis::hadamard(kShape), basis_of(testing::test_format(axes(), kShape, PageSlot::kKeys))}) {
    const auto rows = random_floats(7 * kShape.values_per_token(), 1), queries = random_floats(7 * kDim, 2);
    auto turned = rows;
    basis.turn_tokens(turned);
    EXPECT_EQ(turned == rows, basis == Basis());
    for (std::uint32_t h = 0; h < kShape.kv_heads; ++h) {
      auto q = queries;
      basis.turn_queries(h, q);
      for (std::uint32_t t = 0; t < 7; ++t) {
        const std::size_t at = (t * kShape.kv_heads + h) * kDim;
        EXPECT_NEAR(dot(&q[t * kDim], &turned[at]), dot(&queries[t * kDim], &rows[at]), 1e-4);
        std::vector<float> output(turned.begin() + at, turned.begin() + at + kDim);
        basis.turn_outputs_back(h, output);
        for (std::uint32_t d = 0; d < kDim; ++d) EXPECT_NEAR(output[d], rows[at + d], 1e-5);
        std::vector<float> alone(queries.begin() + t * kDim, queries.begin() + (t + 1) * kDim);
        basis.turn_queries(h, alone);
        EXPECT_EQ(std::memcmp(alone.data(), &q[t * kDim], kDim * sizeof(float)), 0);
      }
    }
    basis.turn_tokens_back(turned);
    for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_NEAR(turned[i], rows[i], 1e-5);
  }
}

TEST(AxesTable, WhatNoEncoderCouldTrustIsRefused) {
  for (const PageSlot slot : kPageSlots) {
    const auto good = testing::make_normal_axes(kShape, slot);
    ASSERT_TRUE(codecs::check_axes_table(kShape, slot, good));
    const codecs::AxesPlaces at = codecs::AxesPlaces::of(kShape, 1);
    const auto refused = [&](std::size_t place, float value) {
      auto table = good;
      std::memcpy(table.data() + place, &value, sizeof value);
      const Status status = codecs::check_axes_table(kShape, slot, table);
      return !status && status.error().code == ErrorCode::kCorrupt;
    };
    const float nothing = std::numeric_limits<float>::quiet_NaN(), endless = std::numeric_limits<float>::infinity();
    for (const float value : {nothing, endless, -endless}) {
      for (const std::size_t place : {std::size_t{40}, at.mean, at.scale + 4, at.weight + 8}) {
        EXPECT_TRUE(refused(place, value));
      }
    }
    EXPECT_TRUE(refused(at.scale, -1.0f));
    EXPECT_TRUE(refused(at.weight, 0.0f));
    EXPECT_TRUE(refused(at.weight, -1.0f));
    EXPECT_FALSE(refused(at.mean, -3.0f));
    for (const std::byte share : {std::byte{0}, std::byte{255}}) {
      auto table = good;
      table[at.shares] = share;
      table[at.shares + 3] = std::byte{1};
      EXPECT_FALSE(codecs::check_axes_table(kShape, slot, table));
    }
    EXPECT_FALSE(codecs::check_axes_table(kShape, slot, std::span(good).first(good.size() - 4)));
    EXPECT_FALSE(codecs::check_axes_table({1, 24}, slot, good));
  }
}

TEST(Axes, TakesHeadsOfWholeBlocks) {
  EXPECT_TRUE(check_shape(axes(), {2, 64}));
  const Status refused = check_shape(axes(), {2, 72});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("multiple of 16"), std::string::npos);
}

class ExactTokens : public ::testing::TestWithParam<PageSlot> {
 protected:
  ExactTokens() : format(testing::test_format(axes(), kShape, GetParam())), first(first_format(format)) {
    rows = random_floats(kBlockTokens * kShape.values_per_token(), 3);
    for (std::size_t i = 0; i < kShape.values_per_token(); ++i) rows[i] *= 40;  // as first tokens are
  }
  PageFormat format, first;
  std::vector<float> rows;
};

TEST_P(ExactTokens, AreWhatTheyWereAndOthersAsElsewhere) {
  ASSERT_EQ(first.exact_tokens, 1u);
  const PageMemory coded = make_page(format, rows, kBlockTokens), exact = make_page(first, rows, kBlockTokens);
  EXPECT_GT(exact.size(), coded.size());
  std::vector<float> a(rows.size()), b(rows.size());
  axes().decode(format, coded.data(), kBlockTokens, a.data());
  axes().decode(first, exact.data(), kBlockTokens, b.data());
  const std::size_t width = kShape.values_per_token();
  for (std::size_t i = 0; i < width; ++i) EXPECT_NEAR(b[i], rows[i], std::fabs(rows[i]) * 1e-3);
  EXPECT_TRUE(std::equal(a.begin() + static_cast<std::ptrdiff_t>(width), a.end(),
                         b.begin() + static_cast<std::ptrdiff_t>(width)));
}

TEST_P(ExactTokens, AreAttendedAsWhatTheyDecodeTo) {
  const PageMemory page = make_page(first, rows, kBlockTokens);
  std::vector<float> decoded(rows.size());
  axes().decode(first, page.data(), kBlockTokens, decoded.data());
  for (const std::uint32_t count : {1u, 3u, 8u, 21u}) {
    for (std::uint32_t h = 0; h < kShape.kv_heads; ++h) {
      const auto at = [&](std::uint32_t t) { return decoded.data() + (t * kShape.kv_heads + h) * kDim; };
      if (GetParam() == PageSlot::kKeys) {
        const auto q = random_floats(count * kDim, count);
        std::vector<float> scores(count * kBlockTokens, -7.0f), without = scores;
        axes().scores(first, page.data(), h, q.data(), count, kAllBoxes, {}, scores.data());
        axes().scores(first, page.data(), h, q.data(), count, 0b1110, {}, without.data());
        for (std::uint32_t r = 0; r < count; ++r) {
          EXPECT_NEAR(scores[r * kBlockTokens], dot(&q[r * kDim], at(0)), 1e-2);
          EXPECT_NEAR(scores[r * kBlockTokens + 5], dot(&q[r * kDim], at(5)), 0.3);
          EXPECT_EQ(without[r * kBlockTokens], -7.0f);
        }
        continue;
      }
      auto p = random_floats(count * kBlockTokens, count);
      for (float& weight : p) weight = std::fabs(weight);
      const std::vector<float> correction(count, 0.5f);
      std::vector<float> sums(count * kDim, 1.0f);
      axes().accumulate(first, page.data(), h, p.data(), correction.data(), count, kBlockTokens, kAllBoxes, {},
                        sums.data());
      for (std::uint32_t r = 0; r < count; ++r) {
        for (std::uint32_t d = 0; d < kDim; ++d) {
          double expected = 0.5;
          for (std::uint32_t t = 0; t < kBlockTokens; ++t) expected += double{p[r * kBlockTokens + t]} * at(t)[d];
          EXPECT_NEAR(sums[r * kDim + d], expected, 2e-2);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Slots, ExactTokens, ::testing::Values(PageSlot::kKeys, PageSlot::kValues));

}  // namespace
}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "cairn/base/half.h"
#include "cairn/kernels/kernels.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

using testing::random_floats;

constexpr Element kAll[] = {Element::kF16, Element::kBF16, Element::kF32};

// Page contents of each element type from the same floats.
std::vector<std::byte> page_of(Element element, const std::vector<float>& values) {
  std::vector<std::byte> page(values.size() * (element == Element::kF32 ? 4 : 2));
  find_kernels("scalar")->narrow[static_cast<std::size_t>(element)](values.data(), values.size(), page.data());
  return page;
}

void expect_same(const std::vector<float>& got, const std::vector<float>& expected, const Kernels& set) {
  EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0) << set.name;
}

TEST(AttentionKernels, EverySetReturnsTheBitsOfTheScalarOne) {
  for (const Element element : kAll) {
    const auto e = static_cast<std::size_t>(element);
    for (const std::uint32_t head_dim : {8u, 24u, 64u, 80u, 128u}) {
      const auto page = page_of(element, random_floats(head_dim * kPageTokens, head_dim));
      for (const std::uint32_t rows : {1u, 2u, 3u, 4u, 7u, 20u}) {
        const auto boxes = static_cast<std::uint8_t>(rows == 20 ? kWholePage : (rows * 5 + head_dim) % 16);
        const auto q = random_floats(rows * head_dim, rows);
        const auto p = random_floats(rows * kPageTokens, rows + 1);
        const auto correction = random_floats(rows, rows + 2);
        const auto start = random_floats(rows * head_dim, rows + 3);
        const float untouched = -77;
        std::vector<float> expected_scores(rows * kPageTokens, untouched), expected_acc = start;
        const Kernels& scalar = *find_kernels("scalar");
        scalar.scores[e](page.data(), head_dim, q.data(), rows, boxes, {}, expected_scores.data());
        scalar.accumulate[e](page.data(), head_dim, p.data(), correction.data(), rows, 61, boxes, {},
                             expected_acc.data());
        for (const Kernels* set : available_kernels()) {
          std::vector<float> got(rows * kPageTokens, untouched), acc = start;
          const PrefetchHint next{page.data(), page.size(), boxes, 2 * kPageBoxTokens};
          set->scores[e](page.data(), head_dim, q.data(), rows, boxes, next, got.data());
          expect_same(got, expected_scores, *set);
          set->accumulate[e](page.data(), head_dim, p.data(), correction.data(), rows, 61, boxes, next, acc.data());
          expect_same(acc, expected_acc, *set);
        }
      }
    }
  }
}

TEST(AttentionKernels, SoftmaxBlockAgreesAcrossSetsAndWithDoubles) {
  const std::uint32_t rows = 6;
  const auto scores = random_floats(rows * kPageTokens, 1, 4.0f);
  const std::uint64_t masks[rows] = {~0ull, 1, 0, 0x8000000000000001ull, 0xffffffffull, 0x5555555555555555ull};
  const float inf = std::numeric_limits<float>::infinity();
  const float earlier_max[rows] = {-inf, 2.0f, -inf, 30.0f, -300.0f, 0.5f};
  for (const Kernels* set : available_kernels()) {
    std::vector<float> p = scores, reference = scores;
    std::vector<float> max(earlier_max, earlier_max + rows), sum(rows, 3.0f), correction(rows);
    std::vector<float> max2 = max, sum2 = sum, correction2(rows);
    set->softmax_block(p.data(), masks, rows, max.data(), sum.data(), correction.data());
    find_kernels("scalar")->softmax_block(reference.data(), masks, rows, max2.data(), sum2.data(), correction2.data());
    expect_same(p, reference, *set);
    expect_same(max, max2, *set);
    expect_same(sum, sum2, *set);
    expect_same(correction, correction2, *set);
    for (std::uint32_t r = 0; r < rows; ++r) {
      double largest = earlier_max[r];
      for (std::uint32_t t = 0; t < kPageTokens; ++t) {
        if ((masks[r] >> t) & 1) largest = std::max<double>(largest, scores[r * kPageTokens + t]);
      }
      double total = std::isinf(largest) ? 0 : 3.0 * std::exp(earlier_max[r] - largest);
      for (std::uint32_t t = 0; t < kPageTokens; ++t) {
        const bool visible = (masks[r] >> t) & 1;
        const double weight = visible ? std::exp(scores[r * kPageTokens + t] - largest) : 0.0;
        EXPECT_NEAR(p[r * kPageTokens + t], weight, 1e-6);
        total += weight;
      }
      EXPECT_NEAR(sum[r], total, 1e-5 * (1 + total));
    }
  }
}

TEST(AttentionKernels, BoxTopsAreTheGreatestThatIsSeen) {
  const float inf = std::numeric_limits<float>::infinity();
  constexpr std::uint32_t kRows = 3;
  auto scores = random_floats(kRows * kPageTokens, 5, 4.0f);
  for (std::size_t i = 0; i < scores.size(); i += 7) scores[i] = std::nanf("");
  for (const std::uint64_t mask : {~0ull, 0ull, 1ull, 0x8000000000000001ull, 0x5555'0000'ffff'0100ull}) {
    for (const Kernels* set : available_kernels()) {
      std::vector<float> tops(kRows * kPageBoxes);
      set->box_tops(scores.data(), mask, kRows, tops.data());
      for (std::uint32_t i = 0; i < tops.size(); ++i) {
        float best = -inf;
        for (std::uint32_t t = i % kPageBoxes * kPageBoxTokens; t < (i % kPageBoxes + 1) * kPageBoxTokens; ++t) {
          const float score = scores[i / kPageBoxes * kPageTokens + t];
          if ((mask >> t & 1) != 0 && !std::isnan(score)) best = std::max(best, score);
        }
        EXPECT_EQ(tops[i], best) << set->name << " " << i;
      }
    }
  }
}

TEST(AttentionKernels, MergeOfNothingKeepsTheOther) {
  const float inf = std::numeric_limits<float>::infinity();
  for (const Kernels* set : available_kernels()) {
    float max_a = -inf, sum_a = 0, max_b = 1.5f, sum_b = 2.0f;
    std::vector<float> acc_a(8, 0.0f), acc_b = random_floats(8, 3);
    set->merge({&max_a, &sum_a, acc_a.data()}, {&max_b, &sum_b, acc_b.data()}, 1, 8);
    EXPECT_EQ(max_a, 1.5f);
    EXPECT_EQ(sum_a, 2.0f);
    expect_same(acc_a, acc_b, *set);
    max_b = -inf;
    set->merge({&max_a, &sum_a, acc_a.data()}, {&max_b, &sum_b, std::vector<float>(8, 99.0f).data()}, 1, 8);
    EXPECT_EQ(sum_a, 2.0f);
    expect_same(acc_a, acc_b, *set);
  }
}

TEST(Narrow, RoundTripsEveryHalfAndSaturates) {
  std::vector<float> all;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = f16_to_f32(static_cast<std::uint16_t>(bits));
    if (std::isfinite(value)) all.push_back(value);
  }
  for (const Kernels* set : available_kernels()) {
    std::vector<std::uint16_t> halves(all.size());
    set->narrow[0](all.data(), all.size(), halves.data());
    for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(f16_to_f32(halves[i]), all[i]);
    const float hostile[] = {1e30f, -1e30f, INFINITY, -INFINITY, NAN, 65519.0f};
    std::uint16_t out[6];
    set->narrow[0](hostile, 6, out);
    EXPECT_EQ(f16_to_f32(out[0]), 65504.0f);
    EXPECT_EQ(f16_to_f32(out[1]), -65504.0f);
    EXPECT_EQ(f16_to_f32(out[2]), 65504.0f);
    EXPECT_EQ(f16_to_f32(out[3]), -65504.0f);
    EXPECT_EQ(f16_to_f32(out[4]), 0.0f);
    EXPECT_EQ(f16_to_f32(out[5]), 65504.0f);
  }
}

TEST(Elementwise, EverySetReturnsTheBitsOfTheScalarOne) {
  const Kernels& scalar = *find_kernels("scalar");
  for (const std::size_t count : {8u, 64u, 100u, 2048u}) {
    const auto x = random_floats(count, 1, 5.0f), y = random_floats(count, 2, 5.0f);
    const auto cos = random_floats(count / 2, 3), sin = random_floats(count / 2, 4);
    for (const Kernels* set : available_kernels()) {
      std::vector<float> a(count), b(count);
      scalar.rms_norm(x.data(), y.data(), 1e-5f, count, a.data());
      set->rms_norm(x.data(), y.data(), 1e-5f, count, b.data());
      expect_same(b, a, *set);
      a = b = x;
      scalar.silu_mul(a.data(), y.data(), count);
      set->silu_mul(b.data(), y.data(), count);
      expect_same(b, a, *set);
      for (std::size_t i = 0; i < count; ++i) {
        const double exact = x[i] / (1 + std::exp(-static_cast<double>(x[i]))) * y[i];
        ASSERT_NEAR(b[i], exact, 1e-5 * (1 + std::fabs(exact)));
      }
      a = b = x;
      scalar.gelu_mul(a.data(), y.data(), count);
      set->gelu_mul(b.data(), y.data(), count);
      expect_same(b, a, *set);
      for (std::size_t i = 0; i < count; ++i) {
        const double v = x[i], inside = std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v);
        ASSERT_NEAR(b[i], 0.5 * v * (1 + std::tanh(inside)) * y[i], 1e-5 * (1 + std::fabs(v * y[i])));
      }
      a = b = x;
      scalar.clamped_silu_mul(a.data(), y.data(), count);
      set->clamped_silu_mul(b.data(), y.data(), count);
      expect_same(b, a, *set);
      for (std::size_t i = 0; i < count; ++i) {
        const double g = std::min(7.0, static_cast<double>(x[i])), u = std::clamp(static_cast<double>(y[i]), -7.0, 7.0);
        ASSERT_NEAR(b[i], g / (1 + std::exp(-1.702 * g)) * (u + 1), 1e-5 * (1 + std::fabs(g * (u + 1))));
      }
      a = b = x;
      scalar.soft_cap(a.data(), count, 2.5f);
      set->soft_cap(b.data(), count, 2.5f);
      expect_same(b, a, *set);
      for (std::size_t i = 0; i < count; ++i) ASSERT_NEAR(b[i], 2.5 * std::tanh(x[i] / 2.5), 1e-6);
      a = b = x;
      scalar.softmax(a.data(), count);
      set->softmax(b.data(), count);
      expect_same(b, a, *set);
      double total = 0;
      for (const float value : x) total += std::exp(static_cast<double>(value));
      for (std::size_t i = 0; i < count; ++i) ASSERT_NEAR(b[i], std::exp(static_cast<double>(x[i])) / total, 1e-6);
      a = b = x;
      scalar.rope_neighbours(a.data(), cos.data(), sin.data(), count / 2);
      set->rope_neighbours(b.data(), cos.data(), sin.data(), count / 2);
      expect_same(b, a, *set);
      scalar.rope_halves(a.data(), cos.data(), sin.data(), count / 2);
      set->rope_halves(b.data(), cos.data(), sin.data(), count / 2);
      expect_same(b, a, *set);
    }
  }
}

}  // namespace
}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// The cold form of blocks: what comes back is what encode() left, errors stay within steps, and bytes that nobody wrote
// do no harm.
#include "cairn/codec/cold_form.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "cairn/base/random.h"
#include "cairn/testing/cold_tables.h"

namespace cairn {
namespace {

using testing::ColdTableSpec;
using testing::random_floats;

constexpr PageShape kShape{.kv_heads = 3, .head_dim = 16};
constexpr std::uint32_t kWidth = 48;

std::shared_ptr<const ColdForm> form_of(ColdTableSpec spec = {}) {
  auto tables = testing::make_cold_tables(Digest{}, 2, kShape, spec);
  return *ColdForm::make(std::make_shared<const Codebooks>(*std::move(tables)));
}

struct Case {
  std::vector<std::int32_t> positions = std::vector<std::int32_t>(kBlockTokens);
  std::vector<float> k = random_floats(kBlockTokens * kWidth, 5), v = random_floats(kBlockTokens * kWidth, 6);
  ColdRotation rotation{RopeSpec{.dims = 16}};

  explicit Case(std::int32_t first = 128) { std::iota(positions.begin(), positions.end(), first); }
  ColdBlock block() const { return {.positions = positions, .first = positions.front() == 0}; }
};

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

double worst_token(std::span<const float> a, std::span<const float> b, std::size_t first = 0) {
  double worst = 0;
  for (std::size_t t = first; t < kBlockTokens; ++t) {
    double sum = 0;
    for (std::size_t d = t * kWidth; d < (t + 1) * kWidth; ++d) sum += (a[d] - b[d]) * double{a[d] - b[d]};
    worst = std::max(worst, std::sqrt(sum));
  }
  return worst;
}

TEST(ColdRotation, UndoesAndRedoesWhatKeysWereRotatedBy) {
  RopeSpec specs[] = {{.dims = 16}, {.dims = 8, .first = 4, .pairing = RopePairing::kHalves}, {.dims = 0}};
  specs[0].attn_factor = 1.25;
  for (const RopeSpec& spec : specs) {
    for (const std::int32_t first : {0, 64, 4096, 100000}) {
      Case c(first);
      std::vector<float> expected = c.k;
      std::vector<float> cos(spec.dims / 2), sin(spec.dims / 2);
      for (std::size_t t = 0; t < kBlockTokens; ++t) {
        rope_cos_sin(spec, c.positions[t], cos, sin);
        for (std::size_t h = 0; h < kWidth; h += 16) {
          for (std::uint32_t i = 0; i < spec.dims / 2; ++i) {
            const bool halves = spec.pairing == RopePairing::kHalves;
            float& a = expected[t * kWidth + h + spec.first + (halves ? i : 2 * i)];
            float& b = expected[t * kWidth + h + spec.first + (halves ? i + spec.dims / 2 : 2 * i + 1)];
            const float turned = a * cos[i] - b * sin[i];
            b = a * sin[i] + b * cos[i];
            a = turned;
          }
        }
      }
      const ColdRotation rotation(spec);
      std::vector<float> rows = c.k;
      rotation.redo(c.positions, 16, rows);
      for (std::size_t i = 0; i < rows.size(); ++i) ASSERT_NEAR(rows[i], expected[i], 1e-5);
      rotation.undo(c.positions, 16, rows);
      for (std::size_t i = 0; i < rows.size(); ++i) ASSERT_NEAR(rows[i], c.k[i], 1e-5);
    }
  }
}

TEST(ColdForm, GivesBackWhatEncodingLeft) {
  for (const ColdTableSpec spec : {ColdTableSpec{}, {.axes = 16}, {.step = 0.02f}, {.step = 20}, {.saliency = 0.7f}}) {
    const auto form = form_of(spec);
    for (const std::int32_t first : {0, 64, 4032}) {
      Case c(first);
      std::vector<float> k = c.k, v = c.v;
      const ColdParts parts = form->encode(1, c.rotation, c.block(), k, v);
      for (const PageSlot slot : kPageSlots) {
        const bool keys = slot == PageSlot::kKeys;
        std::vector<float> rows(k.size(), 7.0f);
        ASSERT_TRUE(form->decode({1, slot}, c.rotation, c.block(), keys ? parts.keys : parts.values, rows));
        EXPECT_TRUE(same_bits(rows, keys ? k : v));
      }
      const ColdParts again = form->encode(1, c.rotation, c.block(), k = c.k, v = c.v);
      EXPECT_EQ(again.keys, parts.keys);
      EXPECT_EQ(again.values, parts.values);
    }
  }
}

// On orthogonal axes no token is further off than half a step on each.
TEST(ColdForm, ErrorsStayWithinSteps) {
  for (const float step : {0.02f, 0.5f}) {
    const auto form = form_of({.step = step});
    Case c;
    for (float& value : std::span(c.k).first(5)) value *= 4000;  // beyond what symbols can say
    std::vector<float> k = c.k, v = c.v;
    const ColdParts parts = form->encode(0, c.rotation, c.block(), k, v);
    const double most = 0.5 * step * std::sqrt(double{kWidth});
    EXPECT_LE(worst_token(k, c.k, /*first=*/1), most + 1e-4);
    EXPECT_LE(worst_token(k, c.k), most + 1e-2);  // floats of thousands
    EXPECT_LE(worst_token(v, c.v), most + 1e-4);
    EXPECT_GT(worst_token(v, c.v), 0.2 * most);  // it does round
    EXPECT_LT(parts.values.size(), kBlockTokens * kWidth * 2u);
  }
}

TEST(ColdForm, CoarserStepsTakeFewerBytes) {
  std::size_t last = std::numeric_limits<std::size_t>::max();
  for (const float step : {0.1f, 0.5f, 2.0f, 8.0f}) {
    Case c;
    const ColdParts parts = form_of({.step = step})->encode(0, c.rotation, c.block(), c.k, c.v);
    EXPECT_LT(parts.values.size(), last);
    last = parts.values.size();
  }
}

TEST(ColdForm, WhatDrawsAttentionGetsFinerSteps) {
  const auto form = form_of({.saliency = 1.0f});
  Case c;
  c.rotation = ColdRotation(RopeSpec{});
  for (std::size_t d = 0; d < kWidth; ++d) c.k[3 * kWidth + d] += 0.4f;  // twenty octaves more than others
  std::vector<float> k = c.k, v = c.v;
  form->encode(0, c.rotation, c.block(), k, v);
  const auto error = [&](std::size_t t) {
    double sum = 0;
    for (std::size_t d = t * kWidth; d < (t + 1) * kWidth; ++d) sum += (v[d] - c.v[d]) * double{v[d] - c.v[d]};
    return std::sqrt(sum);
  };
  std::vector<double> errors;
  for (std::size_t t = 0; t < kBlockTokens; ++t) errors.push_back(error(t));
  std::ranges::nth_element(errors, errors.begin() + 32);
  EXPECT_LT(error(3), 0.25 * errors[32]);
}

TEST(ColdForm, TheFirstTokenOfASequenceIsExact) {
  const auto form = form_of({.step = 4});
  Case c(0);
  for (float& value : c.v) value = std::round(value * 256) / 256;  // as halves have it
  for (float& value : c.k) value = std::round(value * 256) / 256;
  std::vector<float> k = c.k, v = c.v;
  form->encode(0, c.rotation, c.block(), k, v);
  EXPECT_TRUE(same_bits(std::span(k).first(kWidth), std::span(c.k).first(kWidth)));
  EXPECT_TRUE(same_bits(std::span(v).first(kWidth), std::span(c.v).first(kWidth)));
  EXPECT_FALSE(same_bits(std::span(v).subspan(kWidth, kWidth), std::span(c.v).subspan(kWidth, kWidth)));
}

TEST(ColdForm, ConstantAndHugeBlocksAreNoTrouble) {
  const auto form = form_of();
  for (const float value : {0.0f, -0.0f, 1.0f, 65504.0f, -65504.0f, 1e-30f}) {
    Case c;
    std::ranges::fill(c.k, value);
    std::ranges::fill(c.v, value);
    std::vector<float> k = c.k, v = c.v, rows(k.size());
    const ColdParts parts = form->encode(0, c.rotation, c.block(), k, v);
    ASSERT_TRUE(form->decode({0, PageSlot::kKeys}, c.rotation, c.block(), parts.keys, rows));
    EXPECT_TRUE(same_bits(rows, k));
    for (const float got : v) EXPECT_TRUE(std::isfinite(got));
    if (std::fabs(value) > 1.0f) continue;
    EXPECT_LE(worst_token(v, c.v), 0.25 * std::sqrt(double{kWidth}) + 1e-4);
  }
}

// Whatever the bytes, decoding ends, and most damage shows.
TEST(ColdForm, BytesThatNobodyWroteDoNoHarm) {
  const auto form = form_of({.step = 0.05f});
  Case c(0);
  const ColdParts parts = form->encode(0, c.rotation, c.block(), c.k, c.v);
  std::vector<float> rows(c.v.size());
  const auto decodes = [&](std::span<const std::byte> part, ColdBlock block) {
    return form->decode({0, PageSlot::kValues}, c.rotation, block, part, rows);
  };
  ASSERT_TRUE(decodes(parts.values, c.block()));
  for (std::size_t size = 0; size < parts.values.size(); size += 7) {
    EXPECT_FALSE(decodes(std::span(parts.values).first(size), c.block()));
  }
  EXPECT_FALSE(decodes(parts.values, {.positions = c.positions, .first = false}));
  SeededRandom random(4);
  int refused = 0;
  constexpr int kRounds = 2000;
  for (int round = 0; round < kRounds; ++round) {
    auto damaged = parts.values;
    const std::size_t at = random.below(damaged.size() - 2 * kWidth);  // the exact token says nothing of itself
    damaged[at] ^= static_cast<std::byte>(1u << random.below(8));
    refused += decodes(damaged, c.block()) ? 0 : 1;
  }
  EXPECT_GT(refused, kRounds / 2);  // a record's checksum finds the rest
  for (int round = 0; round < 200; ++round) {
    std::vector<std::byte> noise(72 + random.below(4000));
    for (std::byte& byte : noise) byte = static_cast<std::byte>(random.below(256));
    const auto words = static_cast<std::uint32_t>((noise.size() - 72 - 2 * kWidth % noise.size()) / 2);
    std::memcpy(noise.data(), &words, sizeof words);
    static_cast<void>(decodes(noise, c.block()));
  }
}

TEST(ColdTable, WhatNobodyCouldTrustIsRefused) {
  const auto good = testing::make_cold_table(kShape);
  ASSERT_TRUE(cold::check_table(kShape, good));
  const cold::TablePlaces at = cold::TablePlaces::of(kShape);
  const auto refused = [&](std::size_t place, auto value) {
    auto table = good;
    std::memcpy(table.data() + place, &value, sizeof value);
    const Status status = cold::check_table(kShape, table);
    return !status && status.error().code == ErrorCode::kCorrupt && !status.error().message.contains('\n');
  };
  const float nothing = std::numeric_limits<float>::quiet_NaN(), endless = std::numeric_limits<float>::infinity();
  for (const std::size_t place : {std::size_t{4}, at.mean, at.saliency + 4, at.forward + 8, at.back + 400}) {
    EXPECT_TRUE(refused(place, nothing));
    EXPECT_TRUE(refused(place, endless));
  }
  EXPECT_TRUE(refused(0, std::uint32_t{49}));
  EXPECT_TRUE(refused(0, std::uint32_t{64}));
  EXPECT_TRUE(refused(0, std::uint32_t{8}));
  EXPECT_TRUE(refused(4, 0.6f));
  EXPECT_TRUE(refused(at.counts, std::uint16_t{0xffff}));
  EXPECT_TRUE(refused(at.counts + 4, std::uint16_t{0}));
  EXPECT_FALSE(cold::check_table(kShape, std::span(good).first(good.size() - 2)));
  auto no_escape = good;  // its share goes to another symbol
  std::uint16_t rare = 0, first = 0;
  const std::size_t run = at.counts + 2 * rans::kSymbols;
  std::memcpy(&rare, no_escape.data() + run + 2 * (rans::kSymbols - 1), 2);
  std::memcpy(&first, no_escape.data() + run, 2);
  first = static_cast<std::uint16_t>(first + rare);
  rare = 0;
  std::memcpy(no_escape.data() + run + 2 * (rans::kSymbols - 1), &rare, 2);
  std::memcpy(no_escape.data() + run, &first, 2);
  EXPECT_FALSE(cold::check_table(kShape, no_escape));
}

TEST(ColdForm, OtherCodebooksAndOddShapesAreRefused) {
  auto other =
      Codebooks::make(Digest{}, 72, kShape, {testing::make_cold_table(kShape), testing::make_cold_table(kShape)});
  const auto wrong = ColdForm::make(std::make_shared<const Codebooks>(*std::move(other)));
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(cold::check_shape({.kv_heads = 1, .head_dim = 24}));
  EXPECT_FALSE(cold::check_shape({.kv_heads = 64, .head_dim = 128}));
  EXPECT_FALSE(cold::check_shape({.kv_heads = 1, .head_dim = 64, .values_in_keys = 32}));
  EXPECT_TRUE(cold::check_shape({.kv_heads = 2, .head_dim = 8}));
}

}  // namespace
}  // namespace cairn

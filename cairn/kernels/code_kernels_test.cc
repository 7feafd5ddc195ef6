// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "cairn/kernels/kernels.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

using testing::random_floats;

// A code matrix with its plain form beside it. `tables` is the number of channels with levels.
struct TestMatrix {
  CodeMatrix m;
  std::vector<std::uint8_t> plain;  // [lanes, depth]
  std::vector<std::uint8_t> packed, levels;

  TestMatrix(std::uint32_t lanes, std::uint32_t depth, std::uint32_t bits, std::uint32_t channels, bool with_levels,
             std::uint32_t seed)
      : plain(std::size_t{lanes} * depth), packed(code_bytes(lanes, depth, bits)) {
    std::mt19937 random(seed);
    for (auto& code : plain) code = static_cast<std::uint8_t>(random() & ((1u << bits) - 1));
    if (with_levels) {
      levels.resize((channels + 15) / 16 * 256);
      for (auto& level : levels) level = static_cast<std::uint8_t>(random());
    }
    find_kernels("scalar")->pack_codes(plain.data(), 1, depth, lanes, depth, bits, packed.data());
    m = {packed.data(), bits, lanes, depth, with_levels ? levels.data() : nullptr};
  }

  double level(std::uint32_t lane, std::uint32_t depth, std::uint32_t channel) const {
    const std::uint8_t code = plain[std::size_t{lane} * m.depth + depth];
    return m.levels != nullptr ? m.levels[channel * 16 + code] : code;
  }
};

struct KeyCase {
  std::uint32_t bits;
  bool levels;
  std::uint32_t head_dim, lanes;
  std::int32_t twice_middle;
  bool channel_scale, offset;
  int token_scale;  // 0: none, 1: per token, 2: per token and segment

  std::string name() const {
    return "bits " + std::to_string(bits) + (levels ? " levels" : "") + " head_dim " + std::to_string(head_dim) +
           " lanes " + std::to_string(lanes) + " twice_middle " + std::to_string(twice_middle) +
           (channel_scale ? " channel_scale" : "") + (offset ? " offset" : "") + " token_scale " +
           std::to_string(token_scale);
  }
};

std::vector<float> positive(std::vector<float> values, float factor) {
  for (float& value : values) value = std::fabs(value) * factor;
  return values;
}

struct TestKeys {
  TestMatrix matrix;
  std::vector<float> channel_scale, offset, token_scale;
  CodeKeys keys;

  explicit TestKeys(const KeyCase& c)
      : matrix(c.lanes, c.head_dim, c.bits, c.head_dim, c.levels, c.head_dim + c.lanes + c.bits),
        channel_scale(random_floats(c.head_dim, 11)),
        offset(random_floats(c.head_dim, 12)),
        token_scale(positive(random_floats(std::size_t{c.lanes} * ((c.head_dim + 31) / 32), 13), 0.1f)) {
    keys = {matrix.m,
            c.twice_middle,
            c.channel_scale ? channel_scale.data() : nullptr,
            c.offset ? offset.data() : nullptr,
            c.token_scale > 0 ? token_scale.data() : nullptr,
            c.token_scale == 2 ? c.lanes : 0};
  }

  double at(std::uint32_t t, std::uint32_t d) const {
    double value = matrix.level(t, d, d) - 0.5 * keys.twice_middle;
    if (keys.token_scale != nullptr) value *= keys.token_scale[d / 32 * keys.token_scale_stride + t];
    if (keys.channel_scale != nullptr) value *= keys.channel_scale[d];
    return value + (keys.offset != nullptr ? keys.offset[d] : 0.0f);
  }
};

struct ValueCase {
  std::uint32_t bits;
  bool levels;
  std::uint32_t head_dim, depth, group;
  std::int32_t twice_middle;
  bool token_offset, channel_scale;

  std::string name() const {
    return "bits " + std::to_string(bits) + (levels ? " levels" : "") + " head_dim " + std::to_string(head_dim) +
           " depth " + std::to_string(depth) + " group " + std::to_string(group) + " twice_middle " +
           std::to_string(twice_middle) + (token_offset ? " token_offset" : "") +
           (channel_scale ? " channel_scale" : "");
  }
};

struct TestValues {
  TestMatrix matrix;
  std::vector<float> token_scale, token_offset, channel_scale;
  CodeValues values;

  explicit TestValues(const ValueCase& c)
      : matrix(c.head_dim, c.depth, c.bits, c.head_dim, c.levels, c.head_dim + c.depth + c.bits) {
    const std::size_t groups = (c.head_dim + c.group - 1) / c.group;
    token_scale = positive(random_floats(groups * c.depth, 21), 0.1f);
    token_offset = random_floats(groups * c.depth, 22);
    channel_scale = random_floats(c.head_dim, 23);
    values = {matrix.m,
              c.twice_middle,
              c.group,
              token_scale.data(),
              c.token_offset ? token_offset.data() : nullptr,
              c.channel_scale ? channel_scale.data() : nullptr};
  }

  double at(std::uint32_t t, std::uint32_t d) const {
    const std::size_t scale = d / values.group * values.codes.depth + t;
    double value = (matrix.level(d, t, d) - 0.5 * values.twice_middle) * values.token_scale[scale];
    if (values.token_offset != nullptr) value += values.token_offset[scale];
    return value * (values.channel_scale != nullptr ? values.channel_scale[d] : 1.0f);
  }
};

constexpr std::uint32_t kRows[] = {1, 2, 3, 4, 7, 20};
constexpr std::int32_t kMiddles[] = {0, 15, 16, 255};

std::vector<KeyCase> key_cases() {
  std::vector<KeyCase> cases;
  std::uint32_t mix = 0;  // spreads the options over the shapes
  for (const auto& [bits, levels] : {std::pair(2u, false), {4u, false}, {4u, true}, {8u, false}}) {
    for (const std::uint32_t head_dim : {8u, 16u, 24u, 64u, 80u, 128u, 512u}) {
      for (const std::uint32_t lanes : {16u, 32u, 48u, 64u}) {
        for (int scales = 0; scales < 3; ++scales, ++mix)
          cases.push_back(
              {bits, levels, head_dim, lanes, kMiddles[mix % 4], mix / 2 % 2 == 0, mix / 3 % 2 == 0, scales});
      }
    }
  }
  return cases;
}

std::vector<ValueCase> value_cases() {
  std::vector<ValueCase> cases;
  std::uint32_t mix = 0;
  for (const auto& [bits, levels] : {std::pair(2u, false), {4u, false}, {4u, true}, {8u, false}}) {
    for (const std::uint32_t head_dim : {8u, 16u, 24u, 64u, 80u, 128u, 512u}) {
      for (const std::uint32_t depth : {4u, 20u, 32u, 60u, 64u}) {
        for (const std::uint32_t group : {16u, 32u, 128u}) {
          cases.push_back(
              {bits, levels, head_dim, depth, group, kMiddles[mix % 4], mix / 2 % 2 == 0, mix / 3 % 2 == 0});
          ++mix;
        }
      }
    }
  }
  return cases;
}

// Weights as softmax leaves them; every third row has one token that matters.
std::vector<float> weight_rows(std::uint32_t rows) {
  auto p = positive(random_floats(std::size_t{rows} * kPageTokens, rows + 40), 1.0f);
  for (std::uint32_t r = 0; r < rows; r += 3) {
    for (std::uint32_t t = 0; t < kPageTokens; ++t) p[r * kPageTokens + t] = t == r % 4 ? 1.0f : 1e-6f;
  }
  return p;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<float> scores_of(const Kernels& set, const CodeKeys& keys, const std::vector<float>& q,
                             std::uint32_t rows) {
  std::vector<float> out(std::size_t{rows} * kPageTokens, -7.0f);  // what lies past the lanes must stay
  set.code_scores(keys, q.data(), rows, {q.data(), q.size() * sizeof(float)}, out.data());
  return out;
}

std::vector<float> sums_of(const Kernels& set, const CodeValues& values, const std::vector<float>& p,
                           std::uint32_t rows, float factor = 1.0f) {
  std::vector<float> acc = random_floats(std::size_t{rows} * values.codes.lanes, rows);
  const auto correction = positive(random_floats(rows, rows + 1), factor);
  set.code_accumulate(values, p.data(), correction.data(), rows, {p.data(), p.size() * sizeof(float)}, acc.data());
  return acc;
}

TEST(CodeScores, EverySetReturnsTheBitsOfTheScalarOne) {
  std::uint32_t boxes = 0;
  for (const KeyCase& c : key_cases()) {
    TestKeys keys(c);
    for (const std::uint32_t rows : kRows) {
      keys.keys.boxes = static_cast<std::uint8_t>(++boxes % 16);
      const auto q = random_floats(std::size_t{rows} * c.head_dim, rows);
      const auto expected = scores_of(*find_kernels("scalar"), keys.keys, q, rows);
      for (const Kernels* set : available_kernels())
        ASSERT_TRUE(same_bits(scores_of(*set, keys.keys, q, rows), expected))
            << set->name << " rows " << rows << " " << c.name();
    }
  }
}

TEST(CodeAccumulate, EverySetReturnsTheBitsOfTheScalarOne) {
  std::uint32_t boxes = 0;
  for (const ValueCase& c : value_cases()) {
    TestValues values(c);
    for (const std::uint32_t rows : kRows) {
      values.values.boxes = static_cast<std::uint8_t>(++boxes % 16);
      auto p = weight_rows(rows);
      for (std::size_t i = 0; i < p.size(); ++i) {
        if ((values.values.boxes >> i % kPageTokens / kPageBoxTokens & 1) == 0) p[i] = 0;
      }
      const auto expected = sums_of(*find_kernels("scalar"), values.values, p, rows);
      for (const Kernels* set : available_kernels())
        ASSERT_TRUE(same_bits(sums_of(*set, values.values, p, rows), expected))
            << set->name << " rows " << rows << " " << c.name();
    }
  }
}

// Rounding of the query to bytes is half a step of largest / 127 per channel; the rest is arithmetic of floats.
TEST(CodeScores, ScalarIsTheProductWithTheMatrixThatTheCodesStandFor) {
  for (const KeyCase& c : key_cases()) {
    const TestKeys keys(c);
    const auto q = random_floats(c.head_dim, 31);
    const auto out = scores_of(*find_kernels("scalar"), keys.keys, q, 1);
    for (std::uint32_t t = 0; t < c.lanes; ++t) {
      double exact = 0, magnitude = 0, bound = 0;
      for (std::uint32_t first = 0; first < c.head_dim; first += 32) {
        double largest = 0, plain_sum = 0;
        for (std::uint32_t d = first; d < std::min(first + 32, c.head_dim); ++d) {
          const double channel = keys.keys.channel_scale != nullptr ? keys.keys.channel_scale[d] : 1.0f;
          const double offset = keys.keys.offset != nullptr ? keys.keys.offset[d] : 0.0f;
          const double value = keys.at(t, d);
          exact += q[d] * value;
          magnitude += std::fabs(q[d]) * (std::fabs(value) + std::fabs(offset) + std::fabs(value - offset));
          largest = std::max(largest, std::fabs(q[d] * channel));
          plain_sum += channel != 0 ? std::fabs((value - offset) / channel) : 0;
        }
        bound += 0.5 * largest / 127 * plain_sum;
      }
      ASSERT_NEAR(out[t], exact, bound * 1.001 + magnitude * 4e-6) << c.name() << " token " << t;
    }
    for (std::uint32_t t = c.lanes; t < kPageTokens; ++t) ASSERT_EQ(out[t], -7.0f);
  }
}

TEST(CodeAccumulate, ScalarIsTheProductWithTheMatrixThatTheCodesStandFor) {
  for (const ValueCase& c : value_cases()) {
    const TestValues values(c);
    const std::uint32_t rows = 4;
    const auto p = weight_rows(rows);
    const auto start = random_floats(std::size_t{rows} * c.head_dim, rows);
    const auto correction = positive(random_floats(rows, rows + 1), 1.0f);
    const auto out = sums_of(*find_kernels("scalar"), values.values, p, rows);
    for (std::uint32_t r = 0; r < rows; ++r) {
      for (std::uint32_t d = 0; d < c.head_dim; ++d) {
        const float* scale = values.values.token_scale + d / c.group * c.depth;
        const double channel = values.values.channel_scale != nullptr ? values.values.channel_scale[d] : 1.0f;
        const double begin = static_cast<double>(start[r * c.head_dim + d]) * correction[r];
        double exact = begin, magnitude = std::fabs(begin), largest = 0, plain_sum = 0;
        for (std::uint32_t t = 0; t < c.depth; ++t) {
          const double weight = p[r * kPageTokens + t], plain = values.matrix.level(d, t, d) - 0.5 * c.twice_middle;
          exact += weight * values.at(t, d);
          const double offset = c.token_offset ? values.values.token_offset[d / c.group * c.depth + t] : 0.0f;
          magnitude += weight * std::fabs(channel) * (std::fabs(plain) * scale[t] + std::fabs(offset));
          largest = std::max(largest, weight * scale[t]);
          plain_sum += std::fabs(plain);
        }
        const double bound = 0.5 * largest / 32639 * plain_sum * std::fabs(channel);
        ASSERT_NEAR(out[r * c.head_dim + d], exact, bound * 1.001 + magnitude * 2e-6)
            << c.name() << " row " << r << " channel " << d;
      }
    }
  }
}

bool same_numbers(const std::vector<float>& a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i])))) return false;
  }
  return true;
}

// Alone, and in the company of ordinary rows that a set may round at the same time.
TEST(CodeScores, EverySetAgreesOnHostileRows) {
  const TestKeys keys({4, false, 80, 64, 15, true, false, 2});
  for (const float hostile : {NAN, INFINITY, -INFINITY, 3e38f, 1e-30f, -1e-36f, 1e-38f, 1e-42f, 0.0f, -0.0f}) {
    for (const bool whole_row : {false, true}) {
      for (const std::uint32_t rows : {1u, 3u}) {
        auto q = random_floats(rows * 80, 50);
        std::fill(q.begin() + 5, q.begin() + (whole_row ? 80 : 6), hostile);
        if (whole_row) std::fill(q.begin(), q.begin() + 5, 0.0f);
        const auto expected = scores_of(*find_kernels("scalar"), keys.keys, q, rows);
        for (const Kernels* set : available_kernels()) {
          EXPECT_TRUE(same_numbers(scores_of(*set, keys.keys, q, rows), expected))
              << set->name << " " << hostile << " rows " << rows << (whole_row ? " whole row" : "");
        }
      }
    }
  }
}

TEST(CodeAccumulate, EverySetAgreesOnHostileRows) {
  const TestValues values({4, false, 80, 64, 32, 15, false, true});
  for (const float hostile : {3e38f, 1e-30f, 1e-33f, 1e-36f, 1e-38f, 1e-42f, 0.0f}) {
    for (const float correction : {0.0f, 1.0f}) {
      for (const std::uint32_t rows : {1u, 3u}) {
        auto p = positive(random_floats(rows * kPageTokens, 51), 1.0f);
        std::fill(p.begin(), p.begin() + kPageTokens, hostile);
        p[3] = 0.0f;
        const auto expected = sums_of(*find_kernels("scalar"), values.values, p, rows, correction);
        for (const Kernels* set : available_kernels()) {
          EXPECT_TRUE(same_bits(sums_of(*set, values.values, p, rows, correction), expected))
              << set->name << " " << hostile << " rows " << rows << " correction " << correction;
        }
      }
    }
  }
}

TEST(CodeKernels, NothingGivesZero) {
  const TestKeys keys({4, false, 80, 64, 15, true, false, 2});
  const TestValues values({4, false, 80, 64, 32, 15, true, true});
  for (const Kernels* set : available_kernels()) {
    const std::vector<float> nothing(80);
    for (const float score : scores_of(*set, keys.keys, nothing, 1)) EXPECT_EQ(score, 0.0f) << set->name;
    for (const float sum : sums_of(*set, values.values, nothing, 1, 0.0f)) EXPECT_EQ(sum, 0.0f) << set->name;
  }
}

}  // namespace
}  // namespace cairn

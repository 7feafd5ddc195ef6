// SPDX-License-Identifier: Apache-2.0
// What every row of the codec table must do; a new codec is tested by being in the table.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <ostream>
#include <set>

#include "cairn/codec/codec.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

using testing::random_floats;

constexpr PageShape kShapes[] = {{1, 8}, {2, 64}, {3, 80}, {8, 128}};

TEST(CodecTable, NamesAndIdsAreUniqueAndFound) {
  std::set<std::uint32_t> ids;
  for (const Codec& codec : codec_table()) {
    EXPECT_TRUE(ids.insert(codec.id).second) << codec.name;
    const auto found = find_codec(codec.name);
    ASSERT_TRUE(found);
    EXPECT_EQ((*found)->id, codec.id);
  }
  const auto missing = find_codec("zstd");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(missing.error().message.find("raw_f16"), std::string::npos);
}

struct Row {
  const Codec* codec;
  const Codec* operator->() const { return codec; }
};

void PrintTo(const Row& row, std::ostream* out) {
  *out << row->name;
}

class CodecConformance : public ::testing::TestWithParam<Row> {
 protected:
  // A page filled token by token with `rows` [tokens, kv_heads, head_dim].
  std::vector<std::byte> fill(PageShape shape, Side side, const std::vector<float>& rows, std::uint32_t tokens) {
    std::vector<std::byte> page(GetParam()->page_bytes(shape));
    for (std::uint32_t t = 0; t < tokens; ++t) {
      GetParam()->store_token(shape, side, page.data(), t, rows.data() + t * shape.values_per_token());
    }
    return page;
  }
};

TEST_P(CodecConformance, DecodeReturnsWhatWasStoredWithinTheElement) {
  const double bound = GetParam()->name == "raw_f32" ? 0.0 : (GetParam()->name == "raw_f16" ? 0x1p-11 : 0x1p-8);
  for (const PageShape shape : kShapes) {
    for (const std::uint32_t tokens : {1u, 63u, 64u}) {
      const auto rows = random_floats(tokens * shape.values_per_token(), tokens);
      for (const Side side : {Side::kKey, Side::kValue}) {
        const auto page = fill(shape, side, rows, tokens);
        std::vector<float> out(rows.size());
        GetParam()->decode(shape, side, page.data(), tokens, out.data());
        for (std::size_t i = 0; i < rows.size(); ++i) {
          ASSERT_NEAR(out[i], rows[i], bound * std::fabs(rows[i]) + (bound > 0 ? 1e-7 : 0));
        }
        // Storing what was decoded changes nothing: the tail and the sealed page agree.
        EXPECT_EQ(fill(shape, side, out, tokens), page);
      }
    }
  }
}

TEST_P(CodecConformance, AttendingEqualsDecodingThenAttending) {
  for (const PageShape shape : kShapes) {
    const std::uint32_t tokens = 50, rows = 3;
    const auto stored = random_floats(tokens * shape.values_per_token(), 1);
    const auto keys = fill(shape, Side::kKey, stored, tokens), values = fill(shape, Side::kValue, stored, tokens);
    std::vector<float> k(stored.size()), v(stored.size());
    GetParam()->decode(shape, Side::kKey, keys.data(), tokens, k.data());
    GetParam()->decode(shape, Side::kValue, values.data(), tokens, v.data());
    const auto q = random_floats(rows * shape.head_dim, 2), p = random_floats(rows * kBlockTokens, 3);
    const std::vector<float> correction = {0.5f, 1.0f, 0.0f};
    const std::uint32_t head = shape.kv_heads - 1;
    std::vector<float> scores(rows * kBlockTokens), acc = random_floats(rows * shape.head_dim, 4);
    const auto before = acc;
    GetParam()->scores(shape, keys.data(), head, q.data(), rows, {}, scores.data());
    GetParam()->accumulate(shape, values.data(), head, p.data(), correction.data(), rows, tokens, {}, acc.data());
    const auto at = [&](const std::vector<float>& x, std::uint32_t t, std::uint32_t d) {
      return static_cast<double>(x[(t * shape.kv_heads + head) * shape.head_dim + d]);
    };
    for (std::uint32_t r = 0; r < rows; ++r) {
      for (std::uint32_t t = 0; t < tokens; ++t) {
        double exact = 0;
        for (std::uint32_t d = 0; d < shape.head_dim; ++d) exact += q[r * shape.head_dim + d] * at(k, t, d);
        ASSERT_NEAR(scores[r * kBlockTokens + t], exact, 1e-4);
      }
      for (std::uint32_t d = 0; d < shape.head_dim; ++d) {
        double exact = static_cast<double>(before[r * shape.head_dim + d]) * correction[r];
        for (std::uint32_t t = 0; t < tokens; ++t) exact += p[r * kBlockTokens + t] * at(v, t, d);
        ASSERT_NEAR(acc[r * shape.head_dim + d], exact, 1e-4);
      }
    }
  }
}

TEST_P(CodecConformance, HostileValuesStayFinite) {
  const PageShape shape{1, 8};
  const std::vector<float> row = {INFINITY, -INFINITY, NAN, 1e38f, -1e38f, 1e-45f, 0.0f, -0.0f};
  for (const Side side : {Side::kKey, Side::kValue}) {
    const auto page = fill(shape, side, row, 1);
    std::vector<float> out(8);
    GetParam()->decode(shape, side, page.data(), 1, out.data());
    for (const float value : out) EXPECT_TRUE(std::isfinite(value));
  }
}

std::vector<Row> all_codecs() {
  std::vector<Row> rows;
  for (const Codec& codec : codec_table()) rows.push_back({&codec});
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Table, CodecConformance, ::testing::ValuesIn(all_codecs()),
                         [](const auto& codec) { return std::string(codec.param->name); });

}  // namespace
}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// What every row of the codec table must do; a new codec is tested by being in the table.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <ostream>
#include <random>
#include <set>

#include "cairn/codec/codec.h"
#include "cairn/testing/codec_pages.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

using testing::make_page;
using testing::PageMemory;
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

double rms(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

class CodecConformance : public ::testing::TestWithParam<Row> {
 protected:
  PageFormat format(PageShape shape, PageSlot slot) { return testing::test_format(*GetParam().codec, shape, slot); }

  std::vector<PageShape> shapes() {
    std::vector<PageShape> held;
    for (const PageShape shape : kShapes) {
      if (check_shape(*GetParam().codec, shape)) held.push_back(shape);
    }
    return held;
  }

  // Only pages that take single tokens can be partly full.
  std::vector<std::uint32_t> token_counts() {
    return GetParam()->encode != nullptr ? std::vector<std::uint32_t>{64} : std::vector<std::uint32_t>{1, 50, 63, 64};
  }

  std::vector<float> decoded(const PageFormat& page_format, const PageMemory& page, std::uint32_t tokens) {
    std::vector<float> out(tokens * page_format.shape.values_per_token());
    GetParam()->decode(page_format, page.data(), tokens, out.data());
    return out;
  }
};

TEST_P(CodecConformance, HasTheHooksOfItsKind) {
  EXPECT_NE(GetParam()->store_token == nullptr, GetParam()->encode == nullptr);
  EXPECT_TRUE(!GetParam()->exact || GetParam()->store_token != nullptr);
}

TEST_P(CodecConformance, PagesFitTheirAlignment) {
  for (const PageShape shape : shapes()) {
    for (const PageSlot slot : kPageSlots) {
      const PageFormat page_format = format(shape, slot);
      const std::size_t bytes = GetParam()->page_bytes(page_format);
      EXPECT_EQ(bytes % 64, 0u);
      for (std::uint32_t h = 0; h < shape.kv_heads; ++h) {
        const PageMemory page(bytes);
        const PrefetchHint part = GetParam()->head_part(page_format, page.data(), h, kAllBoxes);
        const auto* begin = static_cast<const std::byte*>(part.data);
        EXPECT_GE(begin, page.data());
        EXPECT_LE(begin + part.bytes, page.data() + bytes);
      }
    }
  }
}

// What a hint calls the bytes of one box are loaded only where that box is read.
TEST_P(CodecConformance, BytesOfABoxAreOfNoOtherBox) {
  for (const PageShape shape : shapes()) {
    const std::size_t width = shape.values_per_token();
    const auto rows = random_floats(kBlockTokens * width, 7);
    for (const PageSlot slot : kPageSlots) {
      const PageFormat page_format = format(shape, slot);
      const PageMemory page = make_page(page_format, rows, kBlockTokens);
      const auto before = decoded(page_format, page, kBlockTokens);
      for (std::uint32_t i = 0; i < shape.kv_heads * kBlockBoxes; ++i) {
        const std::uint32_t head = i / kBlockBoxes, box = i % kBlockBoxes;
        const PrefetchHint part = GetParam()->head_part(page_format, page.data(), head, kAllBoxes);
        if (part.box_bytes == 0) continue;
        PageMemory changed = page;
        std::byte* bytes = changed.data() + (static_cast<const std::byte*>(part.data) - page.data());
        for (std::size_t b = part.boxes_from; b < std::min(part.boxes_to, part.bytes); ++b) {
          if ((b - part.boxes_from) / part.box_bytes % kBlockBoxes == box) bytes[b] ^= std::byte{0xff};
        }
        const auto after = decoded(page_format, changed, kBlockTokens);
        std::size_t others = 0;
        for (std::size_t v = 0; v < after.size(); ++v) {
          const bool own = v / width / kBoxTokens == box && v % width / shape.head_dim == head;
          others += !own && std::memcmp(&before[v], &after[v], sizeof(float)) != 0 ? 1 : 0;
        }
        EXPECT_EQ(others, 0u) << shape.head_dim << ' ' << int(slot) << ", box " << box;
        EXPECT_NE(after, before);
      }
    }
  }
}

TEST_P(CodecConformance, DecodeReturnsWhatWasStoredWithinTheBound) {
  for (const PageShape shape : shapes()) {
    for (const std::uint32_t tokens : token_counts()) {
      const auto rows = random_floats(tokens * shape.values_per_token(), tokens);
      for (const PageSlot slot : kPageSlots) {
        const PageFormat page_format = format(shape, slot);
        const PageMemory page = make_page(page_format, rows, tokens);
        auto out = decoded(page_format, page, tokens);
        if (GetParam()->exact) {
          // Storing what was decoded changes nothing.
          EXPECT_EQ(make_page(page_format, out, tokens), page);
          for (std::size_t i = 0; i < rows.size(); ++i) {
            ASSERT_NEAR(out[i], rows[i], GetParam()->bounds.stored * std::fabs(rows[i]) + 1e-7);
          }
        }
        for (std::size_t i = 0; i < rows.size(); ++i) out[i] -= rows[i];
        EXPECT_LE(rms(out), GetParam()->bounds.stored * rms(rows)) << shape.head_dim << " " << int(slot);
      }
    }
  }
}

// Rounding the query or the weights is part of a codec, so the bound is relative to the sums of magnitudes.
TEST_P(CodecConformance, AttendingEqualsDecodingThenAttending) {
  for (const PageShape shape : shapes()) {
    const std::uint32_t tokens = token_counts()[1 % token_counts().size()], rows = 3;
    const auto stored = random_floats(tokens * shape.values_per_token(), 1);
    const PageFormat key_format = format(shape, PageSlot::kKeys), value_format = format(shape, PageSlot::kValues);
    const PageMemory keys = make_page(key_format, stored, tokens), values = make_page(value_format, stored, tokens);
    const auto k = decoded(key_format, keys, tokens), v = decoded(value_format, values, tokens);
    const auto q = random_floats(rows * shape.head_dim, 2);
    auto p = random_floats(rows * kBlockTokens, 3);
    for (float& weight : p) weight = std::fabs(weight);
    for (std::uint32_t r = 0; r < rows; ++r)
      std::fill_n(p.begin() + r * kBlockTokens + tokens, kBlockTokens - tokens, 0);
    const std::vector<float> correction = {0.5f, 1.0f, 0.0f};
    for (std::uint32_t head = 0; head < shape.kv_heads; head += std::max(1u, shape.kv_heads - 1)) {
      std::vector<float> scores(rows * kBlockTokens), acc = random_floats(rows * shape.head_dim, 4);
      const auto before = acc;
      GetParam()->scores(key_format, keys.data(), head, q.data(), rows, kAllBoxes, {}, scores.data());
      GetParam()->accumulate(value_format, values.data(), head, p.data(), correction.data(), rows, tokens, kAllBoxes,
                             {}, acc.data());
      const auto at = [&](const std::vector<float>& x, std::uint32_t t, std::uint32_t d) {
        return static_cast<double>(x[(t * shape.kv_heads + head) * shape.head_dim + d]);
      };
      for (std::uint32_t r = 0; r < rows; ++r) {
        for (std::uint32_t t = 0; t < tokens; ++t) {
          double exact = 0, size = 0;
          for (std::uint32_t d = 0; d < shape.head_dim; ++d) {
            exact += q[r * shape.head_dim + d] * at(k, t, d);
            size += std::fabs(q[r * shape.head_dim + d] * at(k, t, d));
          }
          ASSERT_NEAR(scores[r * kBlockTokens + t], exact, GetParam()->bounds.scores * size + 1e-5);
        }
        for (std::uint32_t d = 0; d < shape.head_dim; ++d) {
          double exact = static_cast<double>(before[r * shape.head_dim + d]) * correction[r], size = std::fabs(exact);
          for (std::uint32_t t = 0; t < tokens; ++t) {
            exact += p[r * kBlockTokens + t] * at(v, t, d);
            size += std::fabs(p[r * kBlockTokens + t] * at(v, t, d));
          }
          ASSERT_NEAR(acc[r * shape.head_dim + d], exact, GetParam()->bounds.outputs * size + 1e-5);
        }
      }
    }
  }
}

// What is read of a page decides what is loaded, and no bit of what comes of it.
TEST_P(CodecConformance, SomeBoxesGiveTheBitsOfTheWholePage) {
  const PageShape shape{2, 64};
  const std::uint32_t tokens = kBlockTokens, rows = 5;
  const auto stored = random_floats(tokens * shape.values_per_token(), 1);
  const PageFormat key_format = format(shape, PageSlot::kKeys), value_format = format(shape, PageSlot::kValues);
  const PageMemory keys = make_page(key_format, stored, tokens), values = make_page(value_format, stored, tokens);
  const auto q = random_floats(rows * shape.head_dim, 2), weights = random_floats(rows * kBlockTokens, 3);
  const std::vector<float> correction(rows, 0.5f), start = random_floats(rows * shape.head_dim, 4);
  std::vector<float> whole(rows * kBlockTokens);
  GetParam()->scores(key_format, keys.data(), 1, q.data(), rows, kAllBoxes, {}, whole.data());
  for (std::uint32_t boxes = 0; boxes <= kAllBoxes; ++boxes) {
    const auto some = static_cast<std::uint8_t>(boxes);
    std::vector<float> scores(rows * kBlockTokens), p(rows * kBlockTokens), acc = start, expected = start;
    GetParam()->scores(key_format, keys.data(), 1, q.data(), rows, some, {}, scores.data());
    for (std::size_t i = 0; i < p.size(); ++i) {
      if ((boxes >> i % kBlockTokens / kBoxTokens & 1) == 0) continue;
      ASSERT_EQ(scores[i], whole[i]) << boxes << " " << i;
      p[i] = std::fabs(weights[i]);
    }
    for (auto* to : {&acc, &expected}) {
      GetParam()->accumulate(value_format, values.data(), 1, p.data(), correction.data(), rows, tokens,
                             to == &acc ? some : kAllBoxes, {}, to->data());
    }
    ASSERT_EQ(acc, expected) << boxes;
  }
}

// The reference paths of all instruction sets agree, and so do repeated encodings.
TEST_P(CodecConformance, EncodingIsDeterministic) {
  const PageShape shape{2, 64};
  const auto rows = random_floats(64 * shape.values_per_token(), 9);
  for (const PageSlot slot : kPageSlots) {
    const PageFormat page_format = format(shape, slot);
    EXPECT_EQ(make_page(page_format, rows, 64), make_page(page_format, rows, 64));
  }
}

TEST_P(CodecConformance, ConstantAndExtremeChannelsStayFiniteAndClose) {
  const PageShape shape{1, 64};
  for (const float scale : {0.0f, 1e-30f, 1e-6f, 1.0f, 60000.0f}) {
    std::vector<float> rows(64 * shape.values_per_token());
    for (std::uint32_t t = 0; t < 64; ++t) {
      for (std::uint32_t d = 0; d < 64; ++d) rows[t * 64 + d] = scale * (d % 3 == 0 ? 1.0f : d % 3 == 1 ? -0.5f : 0.0f);
    }
    for (const PageSlot slot : kPageSlots) {
      const PageFormat page_format = format(shape, slot);
      const PageMemory page = make_page(page_format, rows, 64);
      for (const float value : decoded(page_format, page, 64)) {
        EXPECT_TRUE(std::isfinite(value));
        EXPECT_LE(std::fabs(value), 1.5f * scale + 1e-4f);
      }
    }
  }
}

TEST_P(CodecConformance, HostileValuesStayFinite) {
  const PageShape shape{1, 16};  // the least that all codecs take
  const std::vector<float> row = {INFINITY, -INFINITY, NAN, 1e38f, -1e38f, 1e-45f, 0.0f, -0.0f,
                                  INFINITY, -INFINITY, NAN, 1e38f, -1e38f, 1e-45f, 0.0f, -0.0f};
  for (const PageSlot slot : kPageSlots) {
    const PageFormat page_format = format(shape, slot);
    for (const float value : decoded(page_format, make_page(page_format, row, 1), 1)) EXPECT_TRUE(std::isfinite(value));
  }
}

// Damaged pages give wrong numbers; what must not happen is for the sanitizers to see.
TEST_P(CodecConformance, AnyBytesAreAPage) {
  const PageShape shape{2, 48};
  std::mt19937 bits(7);
  for (const PageSlot slot : kPageSlots) {
    const PageFormat page_format = format(shape, slot);
    for (int round = 0; round < 50; ++round) {
      PageMemory page(GetParam()->page_bytes(page_format));
      for (std::size_t i = 0; i < page.size(); ++i) page.data()[i] = static_cast<std::byte>(bits());
      decoded(page_format, page, 64);
      const std::vector<float> q(4 * shape.head_dim, 1.0f), p(4 * kBlockTokens, 0.5f), correction(4, 1.0f);
      std::vector<float> scores(4 * kBlockTokens), acc(4 * shape.head_dim);
      if (slot == PageSlot::kKeys)
        GetParam()->scores(page_format, page.data(), 1, q.data(), 4, kAllBoxes, {}, scores.data());
      if (slot == PageSlot::kValues) {
        GetParam()->accumulate(page_format, page.data(), 1, p.data(), correction.data(), 4, 64, kAllBoxes, {},
                               acc.data());
      }
    }
  }
}

std::vector<Row> all_codecs() {
  std::vector<Row> rows;
  for (const Codec& codec : codec_table()) rows.push_back({&codec});
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Table, CodecConformance, ::testing::ValuesIn(all_codecs()), [](const auto& codec) {
  std::string name(codec.param->name);
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace cairn

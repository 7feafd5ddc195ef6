// SPDX-License-Identifier: Apache-2.0
// What stands for tokens that are not read, beside plain loops of doubles over all tokens.
#include "cairn/cache/rest_of_values.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/cache/read_scores.h"
#include "cairn/testing/attended_keys.h"
#include "cairn/testing/key_pages.h"

namespace cairn::cache {
namespace {

using testing::AttendedKeys;
using testing::exact_attention;
using testing::expect_near;
using testing::first_positions;
using testing::full_pages;
using testing::random_floats;

constexpr PageShape kShape = {2, 16, 0};
constexpr std::uint32_t kHeads = 4, kGroup = 2, kDim = 16;
constexpr std::size_t kBlocks = 19, kFull = kBlocks * kBlockTokens, kBoxes = kFull / kBoxTokens;  // two sheets
constexpr std::size_t kTokens = kFull + 24;

// One query after the last token, and what its policy's reader makes of the pages.
struct Asked {
  PolicySpec policy;
  const AttendedKeys& keys;
  std::vector<float> q = random_floats(kHeads * kDim, 3, 0.5f);
  std::int32_t position = kTokens;
  AttendLayer how{.shape = kShape, .heads = kHeads, .basis = {}};
  ThreadPool pool{2};
  ReadScores reader{policy, kShape};
  ReadScratch scratch{};
  std::vector<float> scores = std::vector<float>(kShape.kv_heads * kBoxes);
  std::vector<std::uint8_t> reads = std::vector<std::uint8_t>(keys.pages.size() * kShape.kv_heads, kAllBoxes);
  std::vector<float> out = std::vector<float>(kHeads * kDim), rest = std::vector<float>(kHeads * (1 + kDim));

  Asked(const std::string& text, const AttendedKeys& all, float cap = 0)
      : policy(parse_policy(text).value()), keys(all) {
    how.score_cap = cap;
    how.basis = keys.basis();
  }
  AttendRows rows() {
    const std::span<const PageView> pages = keys.pages;
    return {.q = q.data(),
            .positions = &position,
            .rows = 1,
            .pages = pages.first(kBlocks),
            .more_pages = pages.subspan(kBlocks),
            .out = out.data()};
  }
  void score() {
    Reservation room = testing::key_pages::room();
    reader.cover(rows().pages, kBlocks, how.basis, room, pool);
    reader.score(policy, rows(), how, pool, scratch, scores);
  }
  bool looked_at(std::size_t head, std::size_t box) const {
    return scores[head * kBoxes + box] > -std::numeric_limits<float>::infinity();
  }
  // A third of what the reader looked at, the first box among it.
  void choose(std::uint64_t seed) {
    SeededRandom random(seed, "boxes");
    for (std::size_t box = 0; box < kBoxes; ++box) {
      for (std::size_t h = 0; h < kShape.kv_heads; ++h) {
        const bool read = looked_at(h, box) && (box == 0 || random.below(3) == 0);
        std::uint8_t& boxes = reads[box / kBlockBoxes * kShape.kv_heads + h];
        if (!read) boxes &= static_cast<std::uint8_t>(~(1u << box % kBlockBoxes));
      }
    }
  }
  bool is_read(std::size_t head, std::size_t t) const {
    return (reads[t / kBlockTokens * kShape.kv_heads + head] >> (t % kBlockTokens / kBoxTokens) & 1) != 0;
  }
  void attend() {
    rest_of_values({.rule = policy.rest,
                    .means = *reader.value_means(),
                    .weights = scratch.weights,
                    .pages = rows().pages,
                    .reads = reads,
                    .position = position},
                   how, pool, rest);
    AttendRows reading = rows();
    reading.reads = reads.data();
    reading.rest = rest.data();
    Attention().attend({&reading, 1}, how, pool);
  }

  bool sees(std::size_t t) const { return keys.pages[t / kBlockTokens].positions[t % kBlockTokens] <= position; }
  bool sees_box(std::size_t box) const {
    for (std::size_t t = box * kBoxTokens; t < (box + 1) * kBoxTokens; ++t) {
      if (!sees(t)) return false;
    }
    return true;
  }
  double value(std::size_t head, std::size_t t, std::size_t c) const {
    return double{keys.v[(t * kShape.kv_heads + head) * kDim + c]};
  }
  double score_of(const std::vector<double>& query, std::size_t head, std::size_t first, std::size_t count) const {
    double sum = 0;
    for (std::size_t t = first; t < first + count; ++t) {
      for (std::size_t c = 0; c < kDim; ++c) sum += query[c] * double{keys.k[(t * kShape.kv_heads + head) * kDim + c]};
    }
    sum /= static_cast<double>(count);
    const double cap = double{how.score_cap};
    return cap == 0 ? sum : cap * std::tanh(sum / cap);
  }
  // What this query head asks with: all channels, or a quarter of them at SparQ's temperature.
  std::vector<double> query(std::size_t head) const {
    std::vector<double> own(q.begin() + static_cast<std::ptrdiff_t>(head * kDim),
                            q.begin() + static_cast<std::ptrdiff_t>((head + 1) * kDim));
    if (policy.name != "sparf") return own;
    std::vector<double> magnitudes(kDim);
    for (std::size_t g = 0; g < kGroup; ++g) {
      for (std::size_t c = 0; c < kDim; ++c) {
        magnitudes[c] += std::abs(double{q[(head / kGroup * kGroup + g) * kDim + c]});
      }
    }
    double all = 0, left = 0;
    std::vector<double> asked(kDim);
    for (std::size_t c = 0; c < kDim; ++c) {
      all += std::abs(own[c]);
      const auto greater = std::ranges::count_if(magnitudes, [&](double other) { return other > magnitudes[c]; });
      if (greater >= std::ptrdiff_t{kDim / 4}) continue;
      left += std::abs(own[c]);
      asked[c] = own[c];
    }
    for (double& value : asked) value *= std::sqrt(all / left);
    return asked;
  }

  std::vector<double> expected() const {
    std::vector<double> full = exact_attention(
        keys, how, q, {position}, [&](std::size_t head, std::size_t t) { return sees(t) && is_read(head, t); });
    for (std::size_t head = 0; head < kHeads; ++head) {
      const std::size_t h = head / kGroup;
      const std::vector<double> own = query(head);
      double read = 0, unread = 0, boxes = 0;
      std::vector<double> sum(kDim), mean(kDim);
      for (std::size_t t = 0; t < kTokens; ++t) {
        if (is_read(h, t) && sees(t)) read += std::exp(score_of(own, h, t, 1));
      }
      for (std::size_t box = 0; box < kBoxes; ++box) {
        if (!sees_box(box)) continue;
        const std::size_t first = box * kBoxTokens;
        double weight = 0;
        for (std::size_t t = first; t < first + kBoxTokens; ++t) {
          weight += std::exp(looked_at(h, box) ? score_of(own, h, t, 1) : score_of(own, h, first, kBoxTokens));
          for (std::size_t c = 0; c < kDim; ++c) mean[c] += value(h, t, c) / double{kBoxTokens};
        }
        boxes += 1;
        if (is_read(h, first)) continue;
        unread += weight;
        for (std::size_t t = first; t < first + kBoxTokens; ++t) {
          for (std::size_t c = 0; c < kDim; ++c) sum[c] += weight * value(h, t, c) / double{kBoxTokens};
        }
      }
      EXPECT_GT(unread, 0.02 * read) << "says too little";
      for (std::size_t c = 0; c < kDim; ++c) {
        const double stands = policy.rest == RestRule::kMean ? unread * mean[c] / boxes : sum[c];
        full[head * kDim + c] = (read * full[head * kDim + c] + stands) / (read + unread);
      }
    }
    return full;
  }
};

AttendedKeys some_keys(const char* codec) {
  return AttendedKeys(kShape, **find_codec(codec), full_pages(kTokens), first_positions(kTokens));
}

TEST(RestOfValues, IsTheFormulaInDoubles) {
  const AttendedKeys keys = some_keys("raw_f32");
  for (const char* reader : {"sparf", "oracle", "double-p+mass=1", "double-p+mass=0.2"}) {
    for (const char* rest : {"+rest=boxes", "+rest=mean"}) {
      for (const float cap : {0.0f, 1.5f}) {
        SCOPED_TRACE(std::string(reader) + rest + " " + std::to_string(cap));
        Asked asked(std::string(reader) + rest, keys, cap);
        asked.score();
        asked.choose(7);
        asked.attend();
        expect_near(asked.out, asked.expected(), 1e-3);
      }
    }
  }
}

// Some boxes of double-p are weighed by their mean keys alone, or the case above says nothing of these.
TEST(RestOfValues, DoublePWeighsWhatItDoesNotLookAt) {
  const AttendedKeys keys = some_keys("raw_f32");
  Asked asked("double-p+mass=0.2+rest=boxes", keys);
  asked.score();
  std::size_t looked_at = 0;
  for (std::size_t box = 0; box < kBoxes; ++box) looked_at += asked.looked_at(0, box) ? 1 : 0;
  EXPECT_GT(looked_at, 2u);
  EXPECT_LT(looked_at, kBoxes / 2);
}

// Means of encoded values are in the basis of their codec, and what comes out is in the model's.
TEST(RestOfValues, LiesInTheBasisOfTheCodec) {
  for (const char* codec : {"tok4", "tok8", "kivi4-g64", "raw_bf16"}) {
    SCOPED_TRACE(codec);
    const AttendedKeys keys = some_keys(codec);
    Asked asked("oracle+rest=boxes", keys);
    asked.score();
    asked.choose(3);
    asked.attend();
    expect_near(asked.out, asked.expected(), 0.02);
  }
}

TEST(RestOfValues, NothingStandsForWhatIsHidden) {
  for (const char* text : {"oracle+rest=boxes", "sparf+rest=mean", "double-p+mass=0.2+rest=boxes"}) {
    SCOPED_TRACE(text);
    AttendedKeys keys = some_keys("raw_f32");
    std::vector<std::int32_t> positions = keys.positions;
    for (std::size_t t = 0; t < kFull; t += 37) positions[t] = kHiddenPosition;
    for (std::size_t t = 640; t < 704; ++t) positions[t] = kHiddenPosition;  // a whole page
    positions[5] = 5;
    for (std::size_t p = 0; p < keys.pages.size(); ++p) {
      keys.pages[p].positions = positions.data() + p * kBlockTokens;
      keys.pages[p].max_position = kHiddenPosition;
    }
    Asked asked(text, keys);
    asked.score();
    asked.choose(5);
    for (std::size_t box = 40; box < 44; ++box) EXPECT_FALSE(asked.sees_box(box));
    asked.attend();
    expect_near(asked.out, asked.expected(), 1e-3);
  }
}

// Where what is read weighs nothing beside the rest, or a score is no number, the result is finite.
TEST(RestOfValues, StaysFinite) {
  const AttendedKeys keys = some_keys("raw_f32");
  for (const float scale : {0.0f, 1.0f, 1e4f, 1e30f, std::numeric_limits<float>::quiet_NaN()}) {
    for (const char* text : {"oracle+rest=boxes", "sparf+rest=mean", "double-p+mass=0.2+rest=boxes"}) {
      Asked asked(text, keys);
      for (float& value : asked.q) value *= scale;
      asked.score();
      asked.choose(5);
      asked.attend();
      for (const float value : asked.rest) EXPECT_TRUE(std::isfinite(value)) << text << ' ' << scale;
      if (scale > 1e4f || std::isnan(scale)) continue;
      for (const float value : asked.out) EXPECT_TRUE(std::isfinite(value) && std::abs(value) < 5) << text << scale;
    }
  }
}

// Of a box whose weight is no finite number nothing is known. Others are stood for as if the query did not see it.
TEST(RestOfValues, AWeightThatIsNoNumberCostsItsBoxAlone) {
  const AttendedKeys keys = some_keys("raw_f32");
  constexpr std::size_t kBad = 33;
  for (const char* text : {"double-p+mass=0.2+rest=boxes", "oracle+rest=boxes"}) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      SCOPED_TRACE(std::string(text) + " " + std::to_string(bad));
      AttendedKeys other = some_keys("raw_f32");
      std::vector<std::int32_t> positions = keys.positions;
      std::ranges::fill(std::span(positions).subspan(kBad * kBoxTokens, kBoxTokens), kHiddenPosition);
      for (std::size_t p = 0; p < other.pages.size(); ++p) {
        other.pages[p].positions = positions.data() + p * kBlockTokens;
        other.pages[p].max_position = kHiddenPosition;
      }
      Asked hidden(text, other), asked(text, keys);
      for (Asked* one : {&asked, &hidden}) {
        one->score();
        one->choose(5);
        for (std::size_t h = 0; h < kShape.kv_heads; ++h) {
          one->reads = asked.reads;
          one->reads[kBad / kBlockBoxes * kShape.kv_heads + h] &=
              static_cast<std::uint8_t>(~(1u << kBad % kBlockBoxes));
        }
      }
      std::vector<float> scores(kBoxes);
      for (std::size_t head = 0; head < kHeads; ++head) {
        std::ranges::copy(asked.scratch.weights.scores(head), scores.begin());
        scores[kBad] = bad;
        asked.scratch.weights.set_means(head, scores);
        scores[kBad] = 0;
        hidden.scratch.weights.set_means(head, scores);
      }
      asked.attend();
      hidden.attend();
      for (std::size_t head = 0; head < kHeads; ++head) {
        EXPECT_GT(asked.rest[head * (1 + kDim)], 0.0f) << head;
        EXPECT_TRUE(std::isfinite(asked.rest[head * (1 + kDim)])) << head;
      }
      expect_near(asked.rest, std::vector<double>(hidden.rest.begin(), hidden.rest.end()), 1e-5);
    }
  }
}

TEST(ValueMeans, AreMadeForThoseWhoAskAlone) {
  const AttendedKeys keys = some_keys("raw_f32");
  const auto bytes_of = [&](const char* text) {
    Asked asked(text, keys);
    asked.score();
    EXPECT_EQ(asked.reader.value_means() != nullptr, asked.policy.rest != RestRule::kNone);
    EXPECT_EQ(asked.reader.bytes(), ReadScores(asked.policy, kShape).growth(kBlocks));
    return asked.reader.bytes();
  };
  EXPECT_EQ(bytes_of("sparf"), 0u);
  const std::size_t two_sheets = 2 * kShape.kv_heads * kDim * kBlockTokens * 2;
  EXPECT_EQ(bytes_of("sparf+rest=mean"), two_sheets);
  EXPECT_EQ(bytes_of("double-p+rest=boxes"), bytes_of("double-p") + two_sheets);
}

}  // namespace
}  // namespace cairn::cache

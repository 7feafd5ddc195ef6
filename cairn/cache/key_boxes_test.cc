// SPDX-License-Identifier: Apache-2.0
// Boxes of keys and what readers make of them, against plain doubles of the keys.
#include "cairn/cache/key_boxes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "cairn/cache/read_scores.h"
#include "cairn/testing/key_pages.h"

namespace cairn::cache {
namespace {

using testing::key_pages::kBlocks;
using testing::key_pages::kDim;
using testing::key_pages::kGroup;
using testing::key_pages::kHeads;
using testing::key_pages::kShape;
using testing::key_pages::kTokens;
using testing::key_pages::Pages;
using testing::key_pages::some_queries;

constexpr std::size_t kBoxes = kTokens / kBoxTokens;

// The sum over the query heads of a KV head of their softmax over units that score as `product` says.
template <class Product>
std::vector<double> softmax_sums(std::size_t units, const Product& product) {
  std::vector<double> sums(units);
  for (std::uint32_t g = 0; g < kGroup; ++g) {
    std::vector<double> weights(units);
    double sum = 0;
    for (std::size_t u = 0; u < units; ++u) sum += weights[u] = std::exp(product(g, u));
    for (std::size_t u = 0; u < units; ++u) sums[u] += weights[u] / sum;
  }
  return sums;
}

// By the greatest and least keys of each `tokens`, alpha of the former.
std::vector<double> linear_scores(const Pages& pages, const std::vector<float>& q, std::size_t head,
                                  std::size_t tokens) {
  return softmax_sums(kTokens / tokens, [&](std::size_t g, std::size_t u) {
    double sum = 0;
    for (std::size_t c = 0; c < kDim; ++c) {
      double low = 1e9, high = -1e9;
      for (std::size_t t = u * tokens; t < (u + 1) * tokens; ++t) {
        low = std::min(low, pages.key(head, t, c));
        high = std::max(high, pages.key(head, t, c));
      }
      sum += double{q[(head * kGroup + g) * kDim + c]} * (0.6 * high + 0.4 * low);
    }
    return sum;
  });
}

std::vector<float> scored(const std::string& text, const Pages& pages, const std::vector<float>& q, std::uint32_t head,
                          float cap = 0) {
  ThreadPool pool(2);
  Reservation room = testing::key_pages::room();
  const PolicySpec policy = parse_policy(text).value();
  ReadScores reader(policy, kShape);
  EXPECT_EQ(reader.bytes(), 0u);
  const std::size_t growth = reader.growth(kBlocks);
  reader.cover(pages.views, kBlocks, {}, room, pool);
  EXPECT_EQ(reader.bytes(), growth);
  const std::int32_t position = kTokens;
  EXPECT_TRUE(reader.scores());
  const AttendRows rows = {
      .q = q.data(), .positions = &position, .rows = 1, .pages = pages.views, .more_pages = {}, .out = nullptr};
  ReadScratch scratch;
  std::vector<float> scores(kShape.kv_heads * kBoxes);
  reader.score(policy, rows, {.shape = kShape, .heads = kHeads, .score_cap = cap}, pool, scratch, scores);
  const auto own = scores.begin() + static_cast<std::ptrdiff_t>(head * kBoxes);
  return {own, own + kBoxes};
}

TEST(ReadScores, MpcacheLeavesTheChildrenOfTheBestClusters) {
  const Pages pages(1);
  const std::vector<float> q = some_queries(1);
  for (std::uint32_t head = 0; head < 2; ++head) {
    const std::vector<double> boxes = linear_scores(pages, q, head, 16), clusters = linear_scores(pages, q, head, 32);
    std::vector<std::size_t> order(clusters.size() - 1);
    std::iota(order.begin(), order.end(), std::size_t{1});
    std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return clusters[a] > clusters[b]; });
    for (const auto& [text, count] : {std::pair("mpcache", std::size_t{9}), {"mpcache+keep=0.75", 14}}) {
      std::vector<bool> stays(clusters.size());
      stays[0] = true;
      for (std::size_t i = 0; i + 1 < count; ++i) stays[order[i]] = true;  // half of 18 clusters, or three quarters
      const std::vector<float> scores = scored(text, pages, q, head);
      ASSERT_EQ(scores.size(), boxes.size());
      for (std::size_t u = 0; u < boxes.size(); ++u) {
        if (stays[u / 2]) {
          EXPECT_NEAR(double{scores[u]}, boxes[u], 0.01 * boxes[u]) << u;
        } else {
          EXPECT_EQ(scores[u], -std::numeric_limits<float>::infinity()) << u;
        }
      }
    }
  }
}

double product(const Pages& pages, const std::vector<double>& q, std::size_t head, std::size_t token) {
  double sum = 0;
  for (std::size_t c = 0; c < kDim; ++c) sum += q[c] * pages.key(head, token, c);
  return sum;
}

// Of each box that `reads` says: the softmax of its strongest token among those of all these boxes, under queries as
// `query(g)` gives them, summed over the query heads.
template <class Query, class Reads>
std::vector<double> box_attention(const Pages& pages, std::size_t head, const Query& query, const Reads& reads) {
  return softmax_sums(kBoxes, [&](std::size_t g, std::size_t box) {
    double top = -1e9;
    for (std::size_t t = box * kBoxTokens; reads(box) && t < (box + 1) * kBoxTokens; ++t) {
      top = std::max(top, product(pages, query(g), head, t));
    }
    return top;
  });
}

// Models that cap their scores attend with capped ones.
TEST(ReadScores, ReadersThatGoByKeysKnowTheCap) {
  constexpr float kCap = 0.5f;
  const Pages pages(5);
  const std::vector<float> q = some_queries(5);
  for (std::uint32_t head = 0; head < 2; ++head) {
    const std::vector<double> expected = softmax_sums(kBoxes, [&](std::size_t g, std::size_t box) {
      const auto first = q.begin() + static_cast<std::ptrdiff_t>((head * kGroup + g) * kDim);
      double top = -1e9;
      for (std::size_t t = box * kBoxTokens; t < (box + 1) * kBoxTokens; ++t) {
        top = std::max(top, product(pages, {first, first + kDim}, head, t));
      }
      return kCap * std::tanh(top / kCap);
    });
    const std::vector<float> exact = scored("oracle", pages, q, head, kCap);
    for (std::size_t b = 0; b < kBoxes; ++b) EXPECT_NEAR(double{exact[b]}, expected[b], 1e-3 * expected[b]) << b;
    // Rounded keys have other scores, which the cap keeps as near to each other.
    const std::vector<float> sketched = scored("sketch", pages, q, head, kCap);
    EXPECT_LT(std::ranges::max(sketched), std::exp(2 * kCap) * std::ranges::min(sketched));
    const std::vector<float> free = scored("sketch", pages, q, head);
    EXPECT_GT(std::ranges::max(free), std::exp(2 * kCap) * std::ranges::min(free));
  }
}

TEST(ReadScores, SparfLooksWithAQuarterOfTheChannels) {
  const Pages pages(3);
  const std::vector<float> q = some_queries(3);
  for (std::uint32_t head = 0; head < 2; ++head) {
    const auto value = [&](std::size_t g, std::size_t c) { return double{q[(head * kGroup + g) * kDim + c]}; };
    std::vector<std::size_t> order(kDim);
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto magnitude = [&](std::size_t c) { return std::abs(value(0, c)) + std::abs(value(1, c)); };
    std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return magnitude(a) > magnitude(b); });
    const auto query = [&](std::size_t g) {
      double all = 0, left = 0;
      for (std::size_t i = 0; i < kDim; ++i) {
        all += std::abs(value(g, order[i]));
        if (i < 4) left += std::abs(value(g, order[i]));
      }
      std::vector<double> some(kDim);
      for (std::size_t i = 0; i < 4; ++i) some[order[i]] = value(g, order[i]) / std::sqrt(left / all);
      return some;
    };
    const std::vector<double> expected = box_attention(pages, head, query, [](std::size_t) { return true; });
    const std::vector<float> scores = scored("sparf", pages, q, head);
    for (std::size_t b = 0; b < kBoxes; ++b) EXPECT_NEAR(double{scores[b]}, expected[b], 1e-4) << b;
  }
}

TEST(ReadScores, DoublePLooksAtTheKeysOfBoxesWithTheMass) {
  const Pages pages(4);
  std::vector<float> q = some_queries(4);
  for (float& value : q) value *= 4;
  std::size_t left_out = 0;
  for (std::uint32_t head = 0; head < 2; ++head) {
    const auto query = [&](std::size_t g) {
      const float* own = q.data() + (head * kGroup + g) * kDim;
      return std::vector<double>(own, own + kDim);
    };
    const std::vector<double> boxes = softmax_sums(kTokens / 16, [&](std::size_t g, std::size_t u) {
      double sum = 0;
      for (std::size_t t = u * 16; t < u * 16 + 16; ++t) sum += product(pages, query(g), head, t) / 16;
      return sum;
    });
    std::vector<std::size_t> order(boxes.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return boxes[a] > boxes[b]; });
    std::vector<bool> reads(kBoxes);
    reads[0] = true;
    double held = 0;
    for (std::size_t i = 0; i < order.size() && held < 0.5 * kGroup; ++i) {
      reads[order[i]] = true;
      held += boxes[order[i]];
    }
    const std::vector<double> expected = box_attention(pages, head, query, [&](std::size_t box) { return reads[box]; });
    const std::vector<float> scores = scored("double-p+mass=0.5", pages, q, head);
    for (std::size_t b = 0; b < kBoxes; ++b) {
      left_out += reads[b] ? 0 : 1;
      if (reads[b]) {
        EXPECT_NEAR(double{scores[b]}, expected[b], 1e-3) << b;
      } else {
        EXPECT_EQ(scores[b], -std::numeric_limits<float>::infinity()) << b;
      }
    }
  }
  EXPECT_GT(left_out, 2u);
}

TEST(KeyBoxes, HoldBoundsOrMeansOfTheirTokens) {
  ThreadPool pool(1);
  Reservation room = testing::key_pages::room();
  const Pages pages(2);
  for (const std::uint32_t tokens : {16u, 32u}) {
    KeyBoxes bounds(kShape, {.tokens = tokens}), means(kShape, {.tokens = tokens, .means = true});
    for (KeyBoxes* boxes : {&bounds, &means}) {
      boxes->cover(pages.views, 5, room, pool);
      boxes->cover(pages.views, kBlocks, room, pool);
      ASSERT_EQ(boxes->blocks(), kBlocks);
    }
    const std::size_t count = kTokens / tokens;
    std::vector<float> one(kDim), folded(2 * kDim), got(count), low(count), high(count);
    for (std::uint32_t head = 0; head < 2; ++head) {
      for (std::size_t c = 0; c < kDim; ++c) {
        std::ranges::fill(one, 0.0f);
        std::ranges::fill(folded, 0.0f);
        one[c] = folded[c] = 1;
        means.scores(head, one.data(), 1, got);
        bounds.scores(head, folded.data(), 1, high);
        std::swap(folded[c], folded[kDim + c]);
        bounds.scores(head, folded.data(), 1, low);
        for (std::size_t u = 0; u < count; ++u) {
          double mean = 0, least = 1e9, greatest = -1e9;
          for (std::size_t t = u * tokens; t < (u + 1) * tokens; ++t) {
            const double key = pages.key(head, t, c);
            mean += key / tokens;
            least = std::min(least, key);
            greatest = std::max(greatest, key);
          }
          ASSERT_NEAR(double{got[u]}, mean, 1e-3);
          ASSERT_LE(double{low[u]}, least);
          ASSERT_NEAR(double{low[u]}, least, 2e-3);
          ASSERT_GE(double{high[u]}, greatest);
          ASSERT_NEAR(double{high[u]}, greatest, 2e-3);
        }
      }
    }
  }
}

}  // namespace
}  // namespace cairn::cache

// SPDX-License-Identifier: Apache-2.0
// Which boxes are read: against sorting everything, and the formulas of folded queries.
#include "cairn/policy/reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "cairn/base/random.h"

namespace cairn {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

PolicySpec policy_of(std::string name, double keep) {
  PolicySpec policy = parse_policy(name).value();
  policy.keep = keep;
  return policy;
}

std::size_t expected_count(double keep, std::size_t boxes, std::size_t open) {
  const double budget = std::round(keep * static_cast<double>(boxes + open)) - static_cast<double>(open);
  return static_cast<std::size_t>(std::max(2.0, budget));
}

// The sink box, then the best, the older first.
std::vector<std::uint32_t> plainly_chosen(const ReadChoice& choice, std::size_t count) {
  std::vector<std::uint32_t> order(choice.boxes - 1);
  std::iota(order.begin(), order.end(), 1u);
  const auto score = [&](std::uint32_t box) {
    return std::isnan(choice.scores[box]) ? -kInfinity : choice.scores[box];
  };
  std::ranges::stable_sort(order, [&](std::uint32_t a, std::uint32_t b) { return score(a) > score(b); });
  order.resize(count - 1);
  std::erase_if(order, [&](std::uint32_t box) { return score(box) == -kInfinity; });
  order.push_back(0);
  std::ranges::sort(order);
  return order;
}

TEST(ChooseBoxes, IsASortOfAll) {
  SeededRandom random(1, "boxes");
  for (int round = 0; round < 3000; ++round) {
    const std::size_t boxes = 1 + random.below(round % 10 == 0 ? 2800 : 160), open = random.below(9);
    const double keep = random.unit();
    const PolicySpec policy = policy_of(round % 3 == 0 ? "oracle" : "quest", keep);
    const std::size_t count = expected_count(keep, boxes, open);
    ASSERT_EQ(selects(policy, boxes, open), count < boxes);
    if (count >= boxes) continue;
    std::vector<float> scores(boxes);
    const bool ties = random.below(2) == 0;
    for (float& score : scores) {
      const double any = random.unit() * 4 - 2;
      score = static_cast<float>(ties ? std::round(any) : any);
      if (random.below(16) == 0) score = random.below(4) == 0 ? std::nanf("") : -kInfinity;
      if (random.below(40) == 0) score = kInfinity;
    }
    const ReadChoice choice{scores, boxes, open, 0};
    std::vector<std::uint32_t> chosen = {7, 7, 7};
    choose_boxes(policy, choice, chosen);
    ASSERT_EQ(chosen, plainly_chosen(choice, count)) << "round " << round;
  }
}

TEST(ChooseBoxes, ReadsTheSinkBoxAndOneOtherAtLeast) {
  const std::vector<float> scores = {0, 1, 3, 2};
  std::vector<std::uint32_t> chosen;
  choose_boxes(policy_of("quest", 1e-9), {scores, 4, 1, 0}, chosen);
  EXPECT_EQ(chosen, (std::vector<std::uint32_t>{0, 2}));
  const std::vector<float> unreadable(4, -kInfinity);
  choose_boxes(policy_of("quest", 1e-9), {unreadable, 4, 1, 0}, chosen);
  EXPECT_EQ(chosen, (std::vector<std::uint32_t>{0}));
}

TEST(ChooseBoxes, OpenBoxesCountAgainstTheBudget) {
  const std::vector<float> scores(8, 1.0f);
  std::vector<std::uint32_t> chosen;
  choose_boxes(policy_of("oracle", 0.5), {scores, 8, 0, 0}, chosen);
  EXPECT_EQ(chosen.size(), 4u);
  choose_boxes(policy_of("oracle", 0.5), {scores, 8, 2, 0}, chosen);
  EXPECT_EQ(chosen.size(), 3u);
  EXPECT_EQ(chosen, (std::vector<std::uint32_t>{0, 1, 2}));
}

TEST(ChooseBoxes, BothZerosAreEqual) {
  const std::vector<float> scores = {1, -0.0f, 0.0f, -1};
  std::vector<std::uint32_t> chosen;
  choose_boxes(policy_of("oracle", 0.5), {scores, 4, 0, 0}, chosen);
  EXPECT_EQ(chosen, (std::vector<std::uint32_t>{0, 1}));
}

TEST(ChooseBoxes, NothingIsSelectedWhereAllIsRead) {
  for (const char* name : {"quest", "mpcache", "oracle", "recent", "random-read"}) {
    for (std::size_t boxes = 0; boxes < 50; ++boxes) {
      EXPECT_FALSE(selects(policy_of(name, 1), boxes, 1));
      EXPECT_EQ(selects(policy_of(name, 0.01), boxes, 1), boxes > 2);
    }
  }
  EXPECT_FALSE(selects(parse_policy("keydiff").value(), 50, 1));
}

TEST(ChooseBoxes, RecentReadsTheFirstAndTheNewest) {
  std::vector<std::uint32_t> chosen;
  choose_boxes(policy_of("recent", 0.25), {{}, 16, 0, 0}, chosen);
  EXPECT_EQ(chosen, (std::vector<std::uint32_t>{0, 13, 14, 15}));
}

// The best boxes until they hold the share of all amounts; what is no amount counts for nothing.
TEST(ChooseBoxes, EndsAtTheMass) {
  SeededRandom random(2, "mass");
  std::size_t cut = 0;
  for (int round = 0; round < 2000; ++round) {
    const std::size_t boxes = 4 + random.below(80);
    PolicySpec policy = policy_of("quest", 0.3 + 0.5 * random.unit());
    const std::size_t count = expected_count(policy.keep, boxes, 0);
    if (count >= boxes) continue;
    policy.mass = random.unit() + 1e-9;
    std::vector<float> scores(boxes);
    for (float& score : scores) {
      score = static_cast<float>(std::round(random.unit() * 8) / 8) - 0.125f;
      if (random.below(12) == 0) score = random.below(2) == 0 ? -kInfinity : std::nanf("");
    }
    const ReadChoice choice{scores, boxes, 0, 0};
    std::vector<std::uint32_t> order = plainly_chosen(choice, count), chosen;
    const auto amount = [&](std::uint32_t b) { return scores[b] > 0 ? double{scores[b]} : 0.0; };
    double all = 0, held = amount(0);
    for (std::uint32_t b = 0; b < boxes; ++b) all += amount(b);
    std::stable_sort(order.begin() + 1, order.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return scores[a] > scores[b]; });
    std::vector<std::uint32_t> expected = {0};
    for (std::size_t i = 1; i < order.size() && (i == 1 || held < policy.mass * all); ++i) {
      held += amount(order[i]);
      expected.push_back(order[i]);
    }
    cut += expected.size() < order.size() ? 1 : 0;
    std::ranges::sort(expected);
    choose_boxes(policy, choice, chosen);
    ASSERT_EQ(chosen, expected) << "round " << round;
  }
  EXPECT_GT(cut, 500u);
}

TEST(LeaveBestClusters, LeavesTheirBoxesAlone) {
  const std::vector<float> clusters = {0, 5, 7, 5, 1};
  const auto left = [&](double share) {
    std::vector<float> boxes(10);
    std::iota(boxes.begin(), boxes.end(), 1.0f);
    leave_best_clusters(share, clusters, boxes);
    std::vector<std::size_t> found;
    for (std::size_t c = 0; c < 5; ++c) {
      const bool both =
          boxes[2 * c] == static_cast<float>(2 * c + 1) && boxes[2 * c + 1] == static_cast<float>(2 * c + 2);
      const bool none = boxes[2 * c] == -kInfinity && boxes[2 * c + 1] == -kInfinity;
      EXPECT_NE(both, none) << c;
      if (both) found.push_back(c);
    }
    return found;
  };
  using Clusters = std::vector<std::size_t>;
  EXPECT_EQ(left(0.01), (Clusters{0, 2}));    // the first, and one other at least
  EXPECT_EQ(left(0.5), (Clusters{0, 1, 2}));  // three of five; of equal ones the older
  EXPECT_EQ(left(0.7), (Clusters{0, 1, 2, 3}));
  EXPECT_EQ(left(1), (Clusters{0, 1, 2, 3, 4}));
}

TEST(LeaveMass, LeavesTheFewestThatHoldIt) {
  const auto left = [](double mass, std::vector<float> boxes) {
    leave_mass(mass, boxes);
    return boxes;
  };
  const std::vector<float> boxes = {1, 4, 2, 2, 1};
  EXPECT_EQ(left(0.3, boxes), (std::vector<float>{-kInfinity, 4, -kInfinity, -kInfinity, -kInfinity}));
  EXPECT_EQ(left(0.6, boxes), (std::vector<float>{-kInfinity, 4, 2, -kInfinity, -kInfinity}));
  EXPECT_EQ(left(0.61, boxes), (std::vector<float>{-kInfinity, 4, 2, 2, -kInfinity}));
  EXPECT_EQ(left(0.85, boxes), (std::vector<float>{1, 4, 2, 2, -kInfinity}));
  EXPECT_EQ(left(1, boxes), boxes);
  EXPECT_EQ(left(1e-9, {0, 0}), (std::vector<float>{0, -kInfinity}));
  EXPECT_EQ(left(0.6, {std::nanf(""), 3, -1, 1}), (std::vector<float>{-kInfinity, 3, -kInfinity, -kInfinity}));
}

TEST(ChooseBoxes, RandomIsEvenAndRepeats) {
  const PolicySpec policy = policy_of("random-read", 0.25);
  std::vector<std::uint32_t> chosen, again;
  std::vector<int> times(32);
  constexpr int kSeeds = 20000;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    choose_boxes(policy, {{}, 32, 0, seed}, chosen);
    choose_boxes(policy, {{}, 32, 0, seed}, again);
    ASSERT_EQ(chosen, again);
    ASSERT_EQ(chosen.size(), 8u);
    ASSERT_TRUE(std::ranges::is_sorted(chosen));
    for (const std::uint32_t box : chosen) ++times[box];
  }
  EXPECT_EQ(times[0], kSeeds);
  for (std::size_t b = 1; b < 32; ++b) EXPECT_NEAR(times[b] / double{kSeeds}, 7.0 / 31, 0.02) << b;
}

TEST(ChooseBoxes, UsesTheRoomThatThereIs) {
  const std::vector<float> scores(4096, 1.0f);
  std::vector<std::uint32_t> chosen;
  chosen.reserve(4096);
  const std::uint32_t* room = chosen.data();
  for (const char* name : {"quest", "random-read", "recent"}) {
    choose_boxes(policy_of(name, 0.999), {scores, 4096, 0, 1}, chosen);
    EXPECT_EQ(chosen.data(), room);
    EXPECT_EQ(chosen.size(), 4092u);
  }
}

// A box holds keys between its bounds; the product with the folded query is the formula of the paper.
TEST(Readers, QuestBoundsEveryKeyOfTheBox) {
  SeededRandom random(3, "fold");
  const Reader& quest = *find_reader("quest").value();
  constexpr std::uint32_t kDim = 16;
  for (int round = 0; round < 200; ++round) {
    std::vector<float> q(kDim), low(kDim), high(kDim), folded(2 * kDim);
    double bound = 0, corner = 0, inside = 0;
    for (std::uint32_t c = 0; c < kDim; ++c) {
      q[c] = static_cast<float>(random.unit() * 2 - 1);
      low[c] = static_cast<float>(random.unit() * 2 - 1);
      high[c] = low[c] + static_cast<float>(random.unit());
      const double key = double{low[c]} + random.unit() * (double{high[c]} - double{low[c]});
      bound += std::max(double{q[c]} * double{low[c]}, double{q[c]} * double{high[c]});
      inside += double{q[c]} * key;
    }
    quest.fold(q.data(), kDim, folded.data());
    for (std::uint32_t c = 0; c < kDim; ++c) {
      corner += double{folded[c]} * double{high[c]} + double{folded[kDim + c]} * double{low[c]};
    }
    EXPECT_NEAR(corner, bound, 1e-12);
    EXPECT_LE(inside, corner + 1e-12);
  }
}

TEST(Readers, LinearIsSixTenthsOfTheGreatestKeys) {
  const float q[] = {2, -5};
  float folded[4];
  find_reader("linear").value()->fold(q, 2, folded);
  EXPECT_FLOAT_EQ(folded[0], 1.2f);
  EXPECT_FLOAT_EQ(folded[1], -3.0f);
  EXPECT_FLOAT_EQ(folded[2], 0.8f);
  EXPECT_FLOAT_EQ(folded[3], -2.0f);
}

TEST(Readers, AnUnknownOneIsRefusedWithTheList) {
  const auto reader = find_reader("best");
  ASSERT_FALSE(reader.has_value());
  EXPECT_EQ(reader.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(reader.error().message,
            "no reader 'best'; there are: quest, linear, probe, channels, double-p, sketch, exact, recent, random");
}

}  // namespace
}  // namespace cairn

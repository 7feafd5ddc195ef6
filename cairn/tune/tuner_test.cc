// SPDX-License-Identifier: Apache-2.0
// Tuning against a meter whose losses are known: sums over units, times what is lost beyond the prediction.
#include "cairn/tune/tuner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "cairn/testing/tune_units.h"

namespace cairn::tune {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kBytes[] = {64, 128, 256};
constexpr const char* kNames[] = {"coarse", "middle", "fine"};

// Relative errors of every unit are alike; how much they matter is the secret of the meter.
std::vector<Unit> relative_units(std::size_t layers) {
  std::vector<Unit> units(2 * layers);
  for (std::size_t u = 0; u < units.size(); ++u) {
    units[u].name = "layer " + std::to_string(u / 2) + (u % 2 == 0 ? " keys" : " values");
    for (std::size_t c = 0; c < std::size(kBytes); ++c) {
      units[u].choices.push_back({kNames[c], kBytes[c], 0, std::pow(10.0, -double(c))});
    }
  }
  return units;
}

class FakeMeter final : public LossMeter {
 public:
  explicit FakeMeter(std::vector<Unit> units, double beyond = 1.0) : units_(std::move(units)), beyond_(beyond) {}

  double weight(std::size_t unit) const { return 0.01 * static_cast<double>(1 + unit * unit % 7); }
  double loss_of(std::size_t unit, std::size_t choice) const {
    return weight(unit) * units_[unit].choices[choice].error;
  }
  double true_loss(const Picks& plan) const {
    double loss = 0;
    for (std::size_t u = plan.size(); u-- > 0;) loss = loss_of(u, plan[u]) + loss;
    return loss * beyond_;
  }

  Result<std::vector<double>> probe_losses(std::span<const Probe> probes) override {
    probed.assign(probes.begin(), probes.end());
    std::vector<double> losses;
    for (const Probe& probe : probes) losses.push_back(loss_of(probe.unit, probe.choice));
    return losses;
  }
  Result<double> loss(const Picks& plan) override {
    if (judged.size() == stop_after) return fail(ErrorCode::kIo, "the meter broke");
    judged.push_back(plan);
    return true_loss(plan);
  }
  Result<std::vector<double>> validated_losses(std::span<const Picks> plans) override {
    std::vector<double> losses;
    for (const Picks& plan : plans) losses.push_back(true_loss(plan));
    return losses;
  }

  // Units with what they lose, for an exhaustive search beside the tuner's.
  std::vector<Unit> true_units() const {
    std::vector<Unit> units = units_;
    for (std::size_t u = 0; u < units.size(); ++u) {
      for (std::size_t c = 0; c < units[u].choices.size(); ++c) units[u].choices[c].error = loss_of(u, c);
    }
    return units;
  }

  std::vector<Probe> probed;
  std::vector<Picks> judged;
  std::size_t stop_after = SIZE_MAX;

 private:
  std::vector<Unit> units_;
  double beyond_;
};

std::size_t found_plans(const Tuned& tuned) {
  return static_cast<std::size_t>(
      std::ranges::count_if(tuned.plans, [](const TunedPlan& plan) { return !plan.name.starts_with("uniform"); }));
}

TEST(Tuner, ProbesTheWorstChoiceOfEachUnitAndPredictsTheLossFromIt) {
  std::vector<Unit> units = relative_units(3);
  units[2].choices[1].error = 4;  // worse than the coarse one
  FakeMeter meter(units);
  const auto tuned = tune_units(units, meter, {.max_bytes = 900});
  ASSERT_TRUE(tuned);
  ASSERT_EQ(meter.probed.size(), 6u);
  for (std::size_t u = 0; u < 6; ++u) EXPECT_EQ(meter.probed[u], (Probe{u, u == 2 ? 1u : 0u}));
  for (const TunedPlan& plan : tuned->plans) {
    EXPECT_NEAR(plan.predicted.error, meter.true_loss(plan.picks), 1e-12) << plan.name;
    EXPECT_NEAR(plan.loss, plan.predicted.error, 1e-12) << plan.name;
    EXPECT_EQ(plan.predicted.bytes, total_cost(units, plan.picks).bytes) << plan.name;
  }
}

TEST(Tuner, FindsTheBestPlanUnderACapAndListsTheUniformOnesBehindIt) {
  const std::vector<Unit> units = relative_units(3);
  for (const std::uint64_t cap : {384u, 500u, 700u, 1000u, 1536u}) {
    FakeMeter meter(units);
    const auto tuned = tune_units(units, meter, {.max_bytes = cap});
    ASSERT_TRUE(tuned);
    const auto all = testing::plans_that_fit(meter.true_units(), cap);
    EXPECT_EQ(tuned->plans.front().name, "dynamic programming 1");
    EXPECT_NEAR(tuned->plans.front().loss, all.front().cost.error, 1e-12) << cap;
    EXPECT_NEAR(tuned->plans[tuned->best].loss, all.front().cost.error, 1e-12) << cap;
    const std::size_t found = found_plans(*tuned);
    EXPECT_LT(tuned->best, found);
    std::set<Picks> different;
    for (std::size_t i = 0; i < tuned->plans.size(); ++i) {
      EXPECT_TRUE(different.insert(tuned->plans[i].picks).second) << tuned->plans[i].name;
      EXPECT_EQ(tuned->plans[i].name.starts_with("uniform"), i >= found);
      if (i >= found) continue;
      EXPECT_LE(tuned->plans[i].predicted.bytes, cap) << tuned->plans[i].name;
    }
    for (std::size_t c = 0; c < 3; ++c) EXPECT_TRUE(different.contains(Picks(6, c)));
  }
}

TEST(Tuner, TakesTheFewestBytesWithinACapOnTheLoss) {
  const std::vector<Unit> units = relative_units(3);
  const double cap = 0.02;
  const auto fewest = [&](const FakeMeter& meter) {
    std::uint64_t bytes = UINT64_MAX;
    for (const Allocation& plan : testing::every_plan(meter.true_units())) {
      if (plan.cost.error <= cap) bytes = std::min(bytes, plan.cost.bytes);
    }
    return bytes;
  };
  FakeMeter as_predicted(units);
  const auto tuned = tune_units(units, as_predicted, {.max_loss = cap});
  ASSERT_TRUE(tuned);
  EXPECT_TRUE(tuned->within_max_loss);
  EXPECT_EQ(tuned->plans[tuned->best].predicted.bytes, fewest(as_predicted));

  // What looks best loses a fifth too much: one with room for that is taken.
  FakeMeter worse(units, 1.2);
  const auto safer = tune_units(units, worse, {.max_loss = cap});
  ASSERT_TRUE(safer);
  EXPECT_TRUE(safer->within_max_loss);
  EXPECT_LE(safer->plans[safer->best].loss, cap);
  EXPECT_GT(safer->plans[safer->best].predicted.bytes, tuned->plans[tuned->best].predicted.bytes);

  FakeMeter hopeless(units, 100);
  const auto none = tune_units(units, hopeless, {.max_loss = cap});
  ASSERT_TRUE(none);
  EXPECT_FALSE(none->within_max_loss);
  const auto found = std::span(none->plans).first(found_plans(*none));
  EXPECT_EQ(none->plans[none->best].loss, std::ranges::min(found, {}, &TunedPlan::loss).loss);
}

TEST(Tuner, SearchMeasuresNoMoreThanItMayAndNothingThatIsTooLarge) {
  const std::vector<Unit> units = relative_units(4);
  FakeMeter meter(units);
  const TunerOptions options{.method = TuneMethod::kSearch, .max_bytes = 1200, .validated = 5, .judged = 40};
  const auto tuned = tune_units(units, meter, options);
  ASSERT_TRUE(tuned);
  EXPECT_EQ(meter.judged.size(), 40u);
  for (const Picks& plan : meter.judged) EXPECT_LE(total_cost(units, plan).bytes, 1200u);
  EXPECT_EQ(found_plans(*tuned), 5u);
  // The best of all that were measured is the one that is chosen.
  double least = HUGE_VAL;
  for (const Picks& plan : meter.judged) least = std::min(least, meter.true_loss(plan));
  EXPECT_EQ(tuned->plans[tuned->best].loss, least);
  EXPECT_THAT(tuned->plans[tuned->best].name, HasSubstr("search"));
}

TEST(Tuner, EndsWithTheMeterAndSaysWhatIsWrong) {
  std::vector<Unit> units = relative_units(4);
  FakeMeter broken(units);
  broken.stop_after = 3;
  EXPECT_EQ(tune_units(units, broken, {.method = TuneMethod::kSearch}).error().message, "the meter broke");

  FakeMeter meter(units);
  EXPECT_EQ(tune_units(units, meter, {.max_bytes = 8 * 64 - 1}).error().code, ErrorCode::kOutOfBudget);
  EXPECT_EQ(tune_units(units, meter, {.max_loss = 1e-9}).error().code, ErrorCode::kInvalidArgument);
  units[3].choices[1].name = "another";
  EXPECT_THAT(tune_units(units, meter, {}).error().message, HasSubstr("layer 1 values has other choices"));
  units.pop_back();
  EXPECT_THAT(tune_units(units, meter, {}).error().message, HasSubstr("odd"));
}

}  // namespace
}  // namespace cairn::tune

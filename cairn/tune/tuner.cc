// SPDX-License-Identifier: Apache-2.0
#include "cairn/tune/tuner.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/block/shape.h"
#include "cairn/tune/frontier.h"
#include "cairn/tune/plan_search.h"

namespace cairn::tune {
namespace {

Status check_pairs(std::span<const Unit> units) {
  CAIRN_TRY_VOID(check_units(units));
  if (units.size() % kPageSlots.size() != 0) {
    return refuse("the units are not the keys and values of layers: their number is odd");
  }
  const auto same_names = [&](const Unit& unit) {
    return std::ranges::equal(unit.choices, units.front().choices, {}, &Choice::name, &Choice::name);
  };
  for (const Unit& unit : units) {
    if (!same_names(unit)) return refuse(unit.name + " has other choices than " + units.front().name);
  }
  return {};
}

std::string predicted_name(double loss) {
  char text[64];
  std::snprintf(text, sizeof text, "predicted %.5f", loss);
  return text;
}

constexpr std::size_t keys_of(std::size_t layer) {
  return LayerSlot{layer, PageSlot::kKeys}.index();
}
constexpr std::size_t values_of(std::size_t layer) {
  return LayerSlot{layer, PageSlot::kValues}.index();
}

class Tuner {
 public:
  Tuner(std::vector<Unit> units, LossMeter& meter, const TunerOptions& options)
      : units_(std::move(units)), meter_(meter), options_(options) {}

  Result<Tuned> run() {
    CAIRN_TRY_VOID(check_pairs(units_));
    CAIRN_TRY_VOID(weigh_units());
    CAIRN_TRY_VOID(options_.method == TuneMethod::kSearch ? search() : allocate());
    const std::size_t found = result_.plans.size();
    for (std::size_t c = 0; c < units_.front().choices.size(); ++c) {
      add("uniform " + units_.front().choices[c].name, Picks(units_.size(), c));
    }
    CAIRN_TRY_VOID(validate());
    choose(found);
    return std::move(result_);
  }

 private:
  // A unit's error becomes a predicted loss: its error, times the loss per error that its worst choice caused alone.
  Status weigh_units() {
    std::vector<Probe> probes;
    for (std::size_t u = 0; u < units_.size(); ++u) {
      const auto& choices = units_[u].choices;
      const auto worst = std::ranges::max_element(choices, {}, &Choice::error);
      probes.push_back({u, static_cast<std::size_t>(worst - choices.begin())});
    }
    CAIRN_TRY(const std::vector<double> losses, meter_.probe_losses(probes));
    CAIRN_CHECK(losses.size() == probes.size());
    for (const auto& [u, worst] : probes) {
      const double error = units_[u].choices[worst].error, weight = error > 0 ? losses[u] / error : 0.0;
      for (Choice& choice : units_[u].choices) choice.error *= weight;
    }
    return check_units(units_);
  }

  Status allocate() {
    CAIRN_TRY(const Frontier frontier, Frontier::make(units_));
    std::uint64_t cap = options_.max_bytes;
    if (options_.max_loss > 0) {
      CAIRN_TRY(const Allocation fewest, frontier.least_bytes(options_.max_loss));
      cap = std::min(cap, fewest.cost.bytes);
      // In case that more is lost than predicted.
      for (const double share : {0.8, 0.6, 0.4}) {
        const auto safer = frontier.least_bytes(share * options_.max_loss);
        if (safer) add(predicted_name(share * options_.max_loss), safer->picks);
      }
    }
    CAIRN_TRY(const auto best, best_plans(frontier, cap, {.count = options_.validated, .differ_in = 2}));
    for (std::size_t i = 0; i < best.size(); ++i) add("dynamic programming " + std::to_string(i + 1), best[i].picks);
    CAIRN_TRY(const ThresholdCodecs threshold, one_threshold(units_, cap));
    add("one threshold", threshold.plan.picks);
    return {};
  }

  Status search() {
    std::vector<Unit> layers;
    for (std::size_t l = 0; l < units_.size() / kPageSlots.size(); ++l) {
      CAIRN_TRY(const Unit pair, pair_unit(units_[keys_of(l)], units_[values_of(l)]));
      layers.push_back(pruned(pair));
    }
    CAIRN_TRY(const std::vector<Cluster> clusters, cluster_units(layers));
    std::vector<Unit> spaces;
    for (const Cluster& cluster : clusters) spaces.push_back(cluster.unit);
    const auto picks_of = [&](std::span<const std::size_t> picks) {
      Picks all(units_.size());
      const Picks of_layers = member_picks(clusters, picks);
      for (std::size_t l = 0; l < layers.size(); ++l) {
        const std::string& name = layers[l].choices[of_layers[l]].name;
        const std::size_t slash = name.find('/');
        all[keys_of(l)] = place_of(name.substr(0, slash));
        all[values_of(l)] = place_of(name.substr(slash + 1));
      }
      return all;
    };
    const Judge judge = [&](std::span<const std::size_t> picks) { return meter_.loss(picks_of(picks)); };
    CAIRN_TRY(const SearchResult found,
              search_plans(spaces, judge,
                           {.max_bytes = options_.max_bytes, .max_judged = options_.judged, .seed = options_.seed}));
    std::vector<Allocation> best(found.judged);
    std::ranges::sort(best, {}, [](const Allocation& plan) { return plan.cost.error; });
    best.resize(std::min(best.size(), options_.validated));
    for (std::size_t i = 0; i < best.size(); ++i) add("search " + std::to_string(i + 1), picks_of(best[i].picks));
    return {};
  }

  std::size_t place_of(const std::string& name) const {
    const auto& choices = units_.front().choices;
    return static_cast<std::size_t>(std::ranges::find(choices, name, &Choice::name) - choices.begin());
  }

  // Plans are equal when they name the same choices.
  void add(std::string name, const Picks& picks) {
    const auto same = [&](const TunedPlan& other) {
      for (std::size_t u = 0; u < units_.size(); ++u) {
        if (units_[u].choices[other.picks[u]].name != units_[u].choices[picks[u]].name) return false;
      }
      return true;
    };
    if (std::ranges::any_of(result_.plans, same)) return;
    result_.plans.push_back({std::move(name), picks, total_cost(units_, picks), 0});
  }

  Status validate() {
    std::vector<Picks> plans;
    for (const TunedPlan& plan : result_.plans) plans.push_back(plan.picks);
    CAIRN_TRY(const std::vector<double> losses, meter_.validated_losses(plans));
    CAIRN_CHECK(losses.size() == plans.size());
    for (std::size_t i = 0; i < losses.size(); ++i) result_.plans[i].loss = losses[i];
    return {};
  }

  void choose(std::size_t found) {
    const std::span plans = std::span(result_.plans).first(found);
    auto best = std::ranges::min_element(plans, {}, &TunedPlan::loss);
    if (options_.max_loss > 0) {
      result_.within_max_loss = best->loss <= options_.max_loss;
      for (auto plan = plans.begin(); plan != plans.end(); ++plan) {
        if (plan->loss <= options_.max_loss && plan->predicted.bytes < best->predicted.bytes) best = plan;
      }
    }
    result_.best = static_cast<std::size_t>(best - plans.begin());
  }

  std::vector<Unit> units_;  // with predicted losses once they are weighed
  LossMeter& meter_;
  const TunerOptions& options_;
  Tuned result_;
};

}  // namespace

Result<Tuned> tune_units(std::vector<Unit> units, LossMeter& meter, const TunerOptions& options) {
  return Tuner(std::move(units), meter, options).run();
}

}  // namespace cairn::tune

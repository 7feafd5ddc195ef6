// SPDX-License-Identifier: Apache-2.0
#include "cairn/tune/plan_search.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>

#include "cairn/tune/genetic.h"

namespace cairn::tune {
namespace {

Status check_options(std::span<const Unit> units, const SearchOptions& options) {
  for (const Unit& unit : units) {
    if (std::ranges::adjacent_find(unit.choices, std::ranges::greater_equal{}, &Choice::bytes) != unit.choices.end()) {
      return refuse("the choices of " + unit.name + " are not by ascending bytes");
    }
  }
  if (options.max_judged == 0) return refuse("a search must judge at least one plan");
  if (options.population < 4) return refuse("a population must have at least 4 plans");
  for (const Picks& picks : options.first) {
    bool good = picks.size() == units.size();
    for (std::size_t u = 0; good && u < units.size(); ++u) good = picks[u] < units[u].choices.size();
    if (!good) return refuse("a plan to begin with has picks that the units do not have");
  }
  const std::uint64_t fewest = fewest_bytes(units);
  if (fewest > options.max_bytes) return nothing_fits(options.max_bytes, fewest);
  return {};
}

std::string text_of(const Picks& picks) {
  std::string text;
  for (const std::size_t pick : picks) text += (text.empty() ? "" : " ") + std::to_string(pick);
  return text;
}

class Search {
 public:
  Search(std::span<const Unit> units, const Judge& judge, const SearchOptions& options)
      : units_(units), judge_(judge), options_(options), breeding_(units, options.max_bytes, options.seed) {}

  Result<SearchResult> run() {
    const std::vector<Picks> all = breeding_.all_that_fit(options_.max_judged);
    Status done;
    if (!all.empty()) {
      for (std::size_t i = 0; done && i < all.size(); ++i) done = judge(all[i]);
      result_.exhaustive = done.has_value();
    } else {
      done = evolve();
    }
    if (!done) {
      if (done.error().code != ErrorCode::kCancelled || result_.judged.empty()) return std::unexpected(done.error());
      result_.cancelled = true;
    }
    result_.front = pareto_front(costs_);
    return std::move(result_);
  }

 private:
  Status judge(const Picks& picks) {
    CAIRN_TRY(const double loss, judge_(picks));
    if (!std::isfinite(loss)) return refuse("the measured loss of plan " + text_of(picks) + " is not a finite number");
    known_.insert(picks);
    costs_.push_back({total_cost(units_, picks).bytes, loss});
    result_.judged.push_back({picks, costs_.back()});
    return {};
  }

  bool spent() const { return result_.judged.size() >= options_.max_judged; }

  // Adds the plan to `population` if it is a new one.
  Status consider(const Picks& picks, std::vector<std::size_t>& population) {
    if (spent() || known_.contains(picks)) return {};
    CAIRN_TRY_VOID(judge(picks));
    population.push_back(result_.judged.size() - 1);
    return {};
  }

  Status evolve() {
    std::vector<std::size_t> population;  // indices of judged plans
    CAIRN_TRY_VOID(consider(Picks(units_.size(), 0), population));
    for (const Picks& picks : options_.first) CAIRN_TRY_VOID(consider(breeding_.shrunk(picks), population));
    while (population.size() < options_.population && !spent()) {
      CAIRN_TRY_VOID(consider(unknown([&] { return breeding_.anything(); }), population));
    }
    while (!spent()) {
      const std::vector<Cost> costs = costs_of(population);
      const std::vector<Fitness> fit = fitness(costs);
      const std::vector<std::size_t> parents = population;
      const auto parent = [&]() -> const Picks& {
        const std::size_t a = breeding_.random().below(parents.size()), b = breeding_.random().below(parents.size());
        return result_.judged[parents[fit[b].better_than(fit[a]) ? b : a]].picks;
      };
      for (std::size_t i = 0; i < options_.population && !spent(); ++i) {
        const Picks child = unknown([&] {
          const Picks& one = parent();
          return breeding_.child(one, parent());
        });
        CAIRN_TRY_VOID(consider(child, population));
      }
      std::vector<std::size_t> survivors;
      for (const std::size_t i : fittest(costs_of(population), options_.population)) survivors.push_back(population[i]);
      population = std::move(survivors);
    }
    return {};
  }

  // A plan that was not judged yet: there is one, or all of them would have been judged. What is small and random is
  // soon exhausted near a front, and then any neighbour of what it gives will do.
  template <class Make>
  Picks unknown(const Make& make) {
    constexpr int kTries = 20;
    Picks picks = make();
    for (int i = 1; i < kTries && known_.contains(picks); ++i) picks = make();
    while (known_.contains(picks)) picks = breeding_.stepped(picks);
    return picks;
  }

  std::vector<Cost> costs_of(const std::vector<std::size_t>& population) const {
    std::vector<Cost> costs(population.size());
    std::ranges::transform(population, costs.begin(), [&](std::size_t i) { return costs_[i]; });
    return costs;
  }

  std::span<const Unit> units_;
  const Judge& judge_;
  const SearchOptions& options_;
  Breeding breeding_;
  std::set<Picks> known_;
  std::vector<Cost> costs_;  // of result_.judged
  SearchResult result_;
};

}  // namespace

Result<SearchResult> search_plans(std::span<const Unit> units, const Judge& judge, const SearchOptions& options) {
  CAIRN_TRY_VOID(check_units(units));
  CAIRN_TRY_VOID(check_options(units, options));
  return Search(units, judge, options).run();
}

}  // namespace cairn::tune

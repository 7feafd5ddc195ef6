// SPDX-License-Identifier: Apache-2.0
#include "cairn/tune/plan_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <utility>

namespace cairn::tune {
namespace {

// Depth first over the units; `floor[u]` is what the units from u on need at least, so that every branch that is
// entered has a plan that fits at its end.
struct Listing {
  std::span<const Unit> units;
  std::vector<std::uint64_t> floor;
  std::size_t max_plans;
  std::vector<Picks> found;
  Picks picks;

  bool list(std::uint64_t left) {
    const std::size_t u = picks.size();
    if (u == units.size()) {
      found.push_back(picks);
      return found.size() <= max_plans;
    }
    for (std::size_t c = 0; c < units[u].choices.size(); ++c) {
      const std::uint64_t bytes = units[u].choices[c].bytes;
      if (bytes > left || floor[u + 1] > left - bytes) break;
      picks.push_back(c);
      const bool room = list(left - bytes);
      picks.pop_back();
      if (!room) return false;
    }
    return true;
  }
};

// Candidates by rank. With two objectives, those of one rank are taken off in one pass over the sorted rest.
std::vector<std::vector<std::size_t>> layers_of(std::span<const Cost> costs) {
  std::vector<std::size_t> rest(costs.size());
  std::iota(rest.begin(), rest.end(), std::size_t{0});
  std::ranges::stable_sort(rest, [&](std::size_t a, std::size_t b) {
    return costs[a].bytes != costs[b].bytes ? costs[a].bytes < costs[b].bytes : costs[a].error < costs[b].error;
  });
  std::vector<std::vector<std::size_t>> layers;
  while (!rest.empty()) {
    std::vector<std::size_t>& layer = layers.emplace_back();
    std::erase_if(rest, [&](std::size_t i) {
      if (!layer.empty() && dominates(costs[layer.back()], costs[i])) return false;
      layer.push_back(i);
      return true;
    });
  }
  return layers;
}

// `layer` is sorted by bytes and hence by errors, backwards.
void set_crowding(std::span<const Cost> costs, std::span<const std::size_t> layer, std::vector<Fitness>& fitness) {
  const Cost& small = costs[layer.front()];
  const Cost& large = costs[layer.back()];
  const auto bytes = static_cast<double>(large.bytes - small.bytes);
  const double errors = small.error / 2 - large.error / 2;  // halves, for a difference may be beyond the finite
  for (std::size_t i = 0; i < layer.size(); ++i) {
    double& crowding = fitness[layer[i]].crowding;
    if (i > 0 && costs[layer[i]] == costs[layer[i - 1]]) {
      crowding = 0;
    } else if (i == 0 || costs[layer[i]] == large) {
      crowding = std::numeric_limits<double>::infinity();
    } else {
      const Cost& before = costs[layer[i - 1]];
      const Cost& after = costs[layer[i + 1]];
      crowding =
          static_cast<double>(after.bytes - before.bytes) / bytes + (before.error / 2 - after.error / 2) / errors;
    }
  }
}

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

std::vector<Picks> Breeding::all_that_fit(std::size_t max_plans) const {
  Listing listing{units_, std::vector<std::uint64_t>(units_.size() + 1), max_plans, {}, {}};
  for (std::size_t u = units_.size(); u-- > 0;) {
    listing.floor[u] = listing.floor[u + 1] + units_[u].choices.front().bytes;
  }
  if (!listing.list(max_bytes_)) return {};
  return std::move(listing.found);
}

Picks Breeding::anything() {
  double low = random_.unit(), high = random_.unit();
  if (low > high) std::swap(low, high);
  Picks picks;
  for (const Unit& unit : units_) {
    const double at = low + (high - low) * random_.unit();
    picks.push_back(static_cast<std::size_t>(at * static_cast<double>(unit.choices.size())));
  }
  return shrunk(std::move(picks));
}

Picks Breeding::child(const Picks& a, const Picks& b) {
  Picks picks = a;
  for (std::size_t u = 0; u < picks.size(); ++u) {
    if (random_.below(2) == 0) picks[u] = b[u];
    if (random_.below(picks.size()) != 0) continue;
    const std::size_t last = units_[u].choices.size() - 1;
    const bool up = random_.below(2) == 0;
    if (up && picks[u] < last) ++picks[u];
    if (!up && picks[u] > 0) --picks[u];
  }
  return shrunk(std::move(picks));
}

Picks Breeding::stepped(Picks picks) {
  const std::size_t u = random_.below(picks.size());
  const bool up = random_.below(2) == 0;
  if (up && picks[u] + 1 < units_[u].choices.size()) ++picks[u];
  if (!up && picks[u] > 0) --picks[u];
  return shrunk(std::move(picks));
}

Picks Breeding::shrunk(Picks picks) {
  std::uint64_t bytes = total_cost(units_, picks).bytes;
  while (bytes > max_bytes_) {
    const std::size_t u = random_.below(picks.size());
    if (picks[u] == 0) continue;
    bytes -= units_[u].choices[picks[u]].bytes;
    bytes += units_[u].choices[--picks[u]].bytes;
  }
  return picks;
}

std::vector<Fitness> fitness(std::span<const Cost> costs) {
  std::vector<Fitness> of(costs.size());
  const auto layers = layers_of(costs);
  for (std::size_t rank = 0; rank < layers.size(); ++rank) {
    for (const std::size_t i : layers[rank]) of[i].rank = rank;
    set_crowding(costs, layers[rank], of);
  }
  return of;
}

std::vector<std::size_t> fittest(std::span<const Cost> costs, std::size_t count) {
  const std::vector<Fitness> of = fitness(costs);
  std::vector<std::size_t> order(costs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return of[a].better_than(of[b]); });
  order.resize(std::min(count, order.size()));
  return order;
}

Result<SearchResult> search_plans(std::span<const Unit> units, const Judge& judge, const SearchOptions& options) {
  CAIRN_TRY_VOID(check_units(units));
  CAIRN_TRY_VOID(check_options(units, options));
  return Search(units, judge, options).run();
}

}  // namespace cairn::tune

// SPDX-License-Identifier: Apache-2.0
#include "cairn/tune/best_plans.h"

#include <algorithm>
#include <queue>
#include <span>
#include <tuple>
#include <utility>

namespace cairn {
namespace {

using Options = std::vector<std::size_t>;  // one place in Frontier::options() per unit

// The plans that agree with a known one before `unit` and take `option` there, known by the best of them.
struct Deviation {
  Cost best;
  std::size_t of = 0;  // index of the known plan
  std::size_t unit = 0;
  std::size_t option = 0;
};

// Of equal errors the smaller plan, then the older one, so that the order does not depend on the queue.
struct Worse {
  bool operator()(const Deviation& a, const Deviation& b) const {
    const auto key = [](const Deviation& d) { return std::tuple(d.best.error, d.best.bytes, d.of, d.unit, d.option); };
    return key(a) > key(b);
  }
};

// Every set of plans that is not yet searched is a Deviation, and no two of them overlap. The best plan of the best set
// is therefore the next best of all; taking it out splits what is left of its set by the first unit that differs.
class Enumeration {
 public:
  Enumeration(const Frontier& frontier, std::uint64_t max_bytes) : frontier_(frontier), max_bytes_(max_bytes) {
    for (std::size_t o = 0; o < frontier.options(0).size(); ++o) push({}, 0, 0, o);
  }

  // The next plan by ascending error, or null after the last.
  const Options* next() {
    if (queue_.empty()) return nullptr;
    const Deviation from = queue_.top();
    queue_.pop();
    Options plan;
    if (from.unit > 0) plan.assign(known_[from.of].begin(), known_[from.of].begin() + std::ptrdiff_t(from.unit));
    plan.push_back(from.option);
    const std::uint64_t used = bytes_of(plan, plan.size());
    frontier_.append_options(plan.size(), *frontier_.best_rest(plan.size(), max_bytes_ - used), plan);
    known_.push_back(std::move(plan));
    cost_ = from.best;
    branch(from.unit + 1);
    return &known_.back();
  }

  Cost cost() const { return cost_; }  // of the plan that next() gave

 private:
  std::uint64_t bytes_of(std::span<const std::size_t> plan, std::size_t units) const {
    std::uint64_t bytes = 0;
    for (std::size_t u = 0; u < units; ++u) bytes += frontier_.options(u)[plan[u]].cost.bytes;
    return bytes;
  }

  void branch(std::size_t first) {
    const Options& plan = known_.back();
    for (std::size_t u = first; u < plan.size(); ++u) {
      for (std::size_t o = 0; o < frontier_.options(u).size(); ++o) {
        if (o != plan[u]) push(plan, known_.size() - 1, u, o);
      }
    }
  }

  void push(const Options& plan, std::size_t of, std::size_t unit, std::size_t option) {
    const Cost& own = frontier_.options(unit)[option].cost;
    const std::uint64_t used = bytes_of(plan, unit) + own.bytes;
    if (used > max_bytes_) return;
    const Cost* rest = frontier_.best_rest(unit + 1, max_bytes_ - used);
    if (rest == nullptr) return;
    double error = own.error + rest->error;
    for (std::size_t u = unit; u-- > 0;) error = frontier_.options(u)[plan[u]].cost.error + error;
    queue_.push({{used + rest->bytes, error}, of, unit, option});
  }

  const Frontier& frontier_;
  const std::uint64_t max_bytes_;
  std::vector<Options> known_;
  std::priority_queue<Deviation, std::vector<Deviation>, Worse> queue_;
  Cost cost_;
};

std::size_t differences(const std::vector<std::size_t>& a, const std::vector<std::size_t>& b) {
  std::size_t count = 0;
  for (std::size_t u = 0; u < a.size(); ++u) count += a[u] != b[u];
  return count;
}

}  // namespace

Result<std::vector<Allocation>> best_plans(const Frontier& frontier, std::uint64_t max_bytes,
                                           const BestPlansOptions& options) {
  if (frontier.best_rest(0, max_bytes) == nullptr) return nothing_fits(max_bytes, frontier.points().front().bytes);
  std::vector<Allocation> plans;
  Enumeration enumeration(frontier, max_bytes);
  for (std::size_t tried = 0; tried < options.max_tried && plans.size() < options.count; ++tried) {
    const Options* next = enumeration.next();
    if (next == nullptr) break;
    Allocation plan{{}, enumeration.cost()};
    for (std::size_t u = 0; u < next->size(); ++u) plan.picks.push_back(frontier.options(u)[(*next)[u]].pick);
    const bool differs = std::ranges::all_of(
        plans, [&](const Allocation& other) { return differences(plan.picks, other.picks) >= options.differ_in; });
    if (differs) plans.push_back(std::move(plan));
  }
  return plans;
}

}  // namespace cairn

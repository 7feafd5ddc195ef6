// SPDX-License-Identifier: Apache-2.0
#include "cairn/eviction/worth.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cairn/base/check.h"

namespace cairn {
namespace {

constexpr double kHalfLife = 1 << 18;  // of what was seen; a shorter one loses hits on the measured traces
// What an expectation weighs against the hits that were seen: for an age, for a class, for a class at an age. Hits come
// in runs, a request hits tens of blocks at once, so they say less than their number.
constexpr double kAgeHits = 3, kClassHits = 10, kCellHits = 20;
constexpr double kFade = 0.7;  // rates at ages never seen: about as 1 / age, per half octave

// The best ratio over all times to give up, from each age on.
void gittins(const std::array<double, HitDensity::kBins>& rates, double* worth) {
  for (std::size_t from = 0; from < HitDensity::kBins; ++from) {
    double alive = 1, hits = 0, time = 0, best = 0;
    for (std::size_t b = from; b < HitDensity::kBins; ++b) {
      const auto begin = static_cast<double>(HitDensity::bin_begin(b));
      double width = b + 1 < HitDensity::kBins ? static_cast<double>(HitDensity::bin_begin(b + 1)) - begin : begin;
      if (b == from) width /= 2;  // on average it is in the middle of its bin
      const double hit = alive * -std::expm1(-rates[b] * width);
      hits += hit;
      time += hit / rates[b];
      alive -= hit;
      best = std::max(best, hits / time);
    }
    worth[from] = best;
  }
}

}  // namespace

HitDensity::HitDensity(std::size_t classes)
    : classes_(classes), cells_(classes * kBins), worth_(classes * kBins, 0.0) {}

std::size_t HitDensity::bin(std::uint64_t age) {
  static const auto begins = [] {
    std::array<std::uint64_t, kBins> table{};
    for (std::size_t b = 0; b < kBins; ++b) table[b] = bin_begin(b);
    return table;
  }();
  return static_cast<std::size_t>(std::ranges::upper_bound(begins, age) - begins.begin()) - 1;
}

std::uint64_t HitDensity::bin_begin(std::size_t bin) {
  return bin == 0 ? 0 : static_cast<std::uint64_t>(16 * std::exp2(static_cast<double>(bin - 1) / 2));
}

// Of all classes together. Where nothing was seen, rates fade from the last age at which something was.
HitDensity::Rates HitDensity::common_rates() const {
  std::array<Cell, kBins> sums{};
  Cell all;
  for (std::size_t c = 0; c < classes_; ++c) {
    for (std::size_t b = 0; b < kBins; ++b) {
      const Cell& cell = cells_[c * kBins + b];
      sums[b].hits += cell.hits;
      sums[b].time += cell.time;
      all.hits += cell.hits;
      all.time += cell.time;
    }
  }
  Rates rates{};
  double expected = 4 * (all.hits + 1) / (all.time + 1);  // the young are hit most
  for (std::size_t b = 0; b < kBins; ++b) {
    rates[b] = std::max(1e-15, (sums[b].hits + kAgeHits) / (sums[b].time + kAgeHits / expected));
    expected = rates[b] * kFade;
  }
  return rates;
}

// The common rates, times what sets the class apart at all ages, corrected where the class was seen often enough.
HitDensity::Rates HitDensity::class_rates(std::size_t of_class, const Rates& common) const {
  const Cell* cells = &cells_[of_class * kBins];
  double hits = 0, expected = 0;
  for (std::size_t b = 0; b < kBins; ++b) {
    hits += cells[b].hits;
    expected += cells[b].time * common[b];
  }
  const double ratio = (hits + kClassHits) / (expected + kClassHits);
  Rates rates{};
  for (std::size_t b = 0; b < kBins; ++b) {
    rates[b] = std::max(1e-15, (cells[b].hits + kCellHits) / (cells[b].time + kCellHits / (common[b] * ratio)));
  }
  return rates;
}

void HitDensity::learn(double elapsed) {
  const Rates common = common_rates();
  for (std::size_t c = 0; c < classes_; ++c) gittins(class_rates(c, common), &worth_[c * kBins]);
  const double weight = std::exp2(-elapsed / kHalfLife);
  for (Cell& cell : cells_) {
    cell.hits *= weight;
    cell.time *= weight;
  }
}

double Candidates::worth(const GroupId& id) const {
  return density_->worth(id.of_class, id.bin) * std::exp2(0.5 * id.price);
}

void Candidates::put(const GroupId& id, std::uint64_t last, const Digest& key) {
  const auto [group, fresh] = groups_.try_emplace(id);
  if (fresh) ranked_.emplace(worth(id), id);
  group->second.emplace(last, key);
  group_of_[last] = id;
}

void Candidates::insert(std::size_t of_class, int price, std::uint64_t last, const Digest& key, std::uint64_t now) {
  put({of_class, price, HitDensity::bin(now - last)}, last, key);
}

void Candidates::erase(std::uint64_t last) {
  const auto known = group_of_.find(last);
  CAIRN_CHECK(known != group_of_.end());
  const auto group = groups_.find(known->second);
  group->second.erase(last);
  if (group->second.empty()) {
    ranked_.erase({worth(group->first), group->first});
    groups_.erase(group);
  }
  group_of_.erase(known);
}

void Candidates::clear() {
  groups_.clear();
  ranked_.clear();
  group_of_.clear();
}

void Candidates::age(std::uint64_t now) {
  std::vector<std::pair<std::uint64_t, Digest>> grown;
  std::vector<GroupId> from;
  for (const auto& [id, group] : groups_) {
    for (const auto& [last, key] : group) {  // the oldest first
      if (HitDensity::bin(now - last) == id.bin) break;
      grown.emplace_back(last, key);
      from.push_back(id);
    }
  }
  for (std::size_t i = 0; i < grown.size(); ++i) {
    erase(grown[i].first);
    insert(from[i].of_class, from[i].price, grown[i].first, grown[i].second, now);
  }
}

std::optional<Digest> Candidates::first(const std::function<bool(const Digest&)>& may_go) const {
  for (const auto& [_, id] : ranked_) {
    for (const auto& [last, key] : groups_.at(id)) {
      if (may_go(key)) return key;
    }
  }
  return std::nullopt;
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/retention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cairn/base/check.h"
#include "cairn/policy/candidates.h"
#include "cairn/policy/scorer.h"

namespace cairn {
namespace {

using Slots = std::vector<std::size_t>;

// The occupied slots of one KV head.
Slots occupied_of(const LayerScores& layer, std::size_t head) {
  Slots occupied;
  for (std::size_t slot = 0; slot < layer.slots; ++slot) {
    if (layer.positions[head * layer.slots + slot] != kNoToken) occupied.push_back(slot);
  }
  return occupied;
}

// Numbers for what is none, zeros for what is empty.
void make_finite(std::span<const std::int32_t> positions, std::span<float> scores) {
  float least = std::numeric_limits<float>::infinity(), greatest = -least;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (positions[i] == kNoToken || !std::isfinite(scores[i])) continue;
    least = std::min(least, scores[i]);
    greatest = std::max(greatest, scores[i]);
  }
  if (least > greatest) least = greatest = 0;  // there is no number
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (positions[i] == kNoToken) {
      scores[i] = 0;
    } else if (!std::isfinite(scores[i])) {
      scores[i] = scores[i] > 0 ? greatest : least;
    }
  }
}

// A token of punctuation keeps a share of what it is above the least score of its head.
void discount_punctuation(const LayerEvidence& evidence, double share, LayerScores& layer) {
  for (std::size_t head = 0; head < layer.kv_heads; ++head) {
    float least = std::numeric_limits<float>::infinity();
    for (std::size_t i = head * layer.slots; i < (head + 1) * layer.slots; ++i) {
      if (layer.positions[i] != kNoToken) least = std::min(least, layer.scores[i]);
    }
    for (std::size_t i = head * layer.slots; i < (head + 1) * layer.slots; ++i) {
      const auto position = static_cast<std::size_t>(layer.positions[i]);  // beyond all tokens where it is kNoToken
      if (position >= evidence.punctuation.size() || evidence.punctuation[position] == 0) continue;
      layer.scores[i] = least + static_cast<float>(share) * (layer.scores[i] - least);
    }
  }
}

// Each slot gets the mean over the heads that hold it.
void share_scores(LayerScores& layer) {
  for (std::size_t slot = 0; slot < layer.slots; ++slot) {
    double sum = 0;
    std::size_t holders = 0;
    for (std::size_t i = slot; i < layer.scores.size(); i += layer.slots) {
      if (layer.positions[i] == kNoToken) continue;
      sum += static_cast<double>(layer.scores[i]);
      ++holders;
    }
    for (std::size_t i = slot; i < layer.scores.size(); i += layer.slots) {
      if (layer.positions[i] != kNoToken) layer.scores[i] = static_cast<float>(sum / static_cast<double>(holders));
    }
  }
}

// At the ends the mean is over those neighbours that there are.
void pool_scores(std::span<float> scores, std::span<const std::size_t> slots, std::size_t width) {
  const std::size_t reach = width / 2;
  std::vector<float> before;
  for (const std::size_t slot : slots) before.push_back(scores[slot]);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const std::size_t first = i - std::min(i, reach), end = std::min(i + reach + 1, slots.size());
    double sum = 0;
    for (std::size_t j = first; j < end; ++j) sum += static_cast<double>(before[j]);
    scores[slots[i]] = static_cast<float>(sum / static_cast<double>(end - first));
  }
}

void pool_layer(const PolicySpec& policy, LayerScores& layer) {
  const std::int64_t last = *std::ranges::max_element(layer.positions);
  for (std::size_t head = 0; head < layer.kv_heads; ++head) {
    const std::size_t row = head * layer.slots;
    Slots slots = occupied_of(layer, head);
    while (!slots.empty() && last - layer.positions[row + slots.back()] < std::int64_t{policy.recent}) slots.pop_back();
    pool_scores(std::span(layer.scores).subspan(row, layer.slots), slots, policy.pool);
  }
}

std::vector<std::uint32_t> choose_slots(const PolicySpec& policy, const LayerScores& layer, std::size_t list,
                                        std::size_t budget) {
  retention::Candidates candidates = retention::gather(policy, layer, list);
  if (policy.recent_share > 0) retention::hold_newest(candidates, policy.recent_share, budget);
  std::vector<std::uint32_t> kept = std::move(candidates.stay);
  std::size_t free = budget - std::min(budget, kept.size() + candidates.tail);
  std::vector<retention::Unit> units = retention::units_of(policy, candidates);
  if (free < units.size()) {  // a unit is one token at least
    std::ranges::nth_element(units, units.begin() + static_cast<std::ptrdiff_t>(free), retention::comes_before);
    units.resize(free);
  }
  std::ranges::sort(units, retention::comes_before);
  for (const retention::Unit& unit : units) {
    if (unit.count > free) break;
    free -= unit.count;
    const auto first = candidates.slots.begin() + static_cast<std::ptrdiff_t>(unit.first);
    kept.insert(kept.end(), first, first + static_cast<std::ptrdiff_t>(unit.count));
  }
  std::ranges::sort(kept);
  return kept;
}

}  // namespace

LayerScores score_layer(const LayerEvidence& evidence, const PolicySpec& policy) {
  CAIRN_CHECK(policy.scorer != nullptr);
  LayerScores layer;
  layer.kv_heads = evidence.shape.kv_heads;
  layer.slots = layer.fixed_from = evidence.slots;
  const std::size_t count = layer.kv_heads * layer.slots;
  if (count == 0) return layer;
  layer.positions.assign(evidence.positions, evidence.positions + count);
  layer.scores.resize(count);
  policy.scorer->score(evidence, policy, layer.scores);
  for (std::size_t head = 0; head < layer.kv_heads; ++head) {
    make_finite(std::span(layer.positions).subspan(head * layer.slots, layer.slots),
                std::span(layer.scores).subspan(head * layer.slots, layer.slots));
  }
  if (policy.punctuation < 1 && !evidence.punctuation.empty())
    discount_punctuation(evidence, policy.punctuation, layer);
  if (!policy.per_head) share_scores(layer);
  if (policy.pool > 1) pool_layer(policy, layer);
  return layer;
}

LayerScores follow_scores(const LayerScores& leader, std::vector<std::int32_t> positions, std::uint32_t kv_heads) {
  LayerScores layer;
  layer.kv_heads = kv_heads;
  layer.slots = layer.fixed_from = positions.size() / kv_heads;
  layer.positions = std::move(positions);
  // What the leader has no more, though this layer does, is what it thought least of.
  const auto least = std::ranges::min_element(leader.scores);
  layer.scores.assign(layer.positions.size(), least == leader.scores.end() ? 0.0f : *least);
  layer.follows = true;
  for (std::size_t head = 0; head < kv_heads; ++head) {
    const std::size_t from = (leader.kv_heads == kv_heads ? head : 0) * leader.slots;
    std::size_t next = 0;
    for (std::size_t i = head * layer.slots; i < (head + 1) * layer.slots; ++i) {
      if (layer.positions[i] == kNoToken) {
        layer.scores[i] = 0;
        continue;
      }
      while (next < leader.slots && leader.positions[from + next] < layer.positions[i]) ++next;  // kNoToken is less
      if (next < leader.slots && leader.positions[from + next] == layer.positions[i]) {
        layer.scores[i] = leader.scores[from + next];
      }
    }
  }
  return layer;
}

RetentionPlan plan_retention(const PolicySpec& policy, std::span<const LayerScores> layers) {
  const std::vector<std::vector<std::size_t>> budgets = budgets_of(policy, layers);
  RetentionPlan plan;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    LayerKeep keep;
    for (std::size_t list = 0; list < retention::lists_of(policy, layers[l]); ++list) {
      keep.heads.push_back(choose_slots(policy, layers[l], list, budgets[l][list]));
    }
    plan.layers.push_back(std::move(keep));
  }
  return plan;
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/aging.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "cairn/policy/candidates.h"
#include "cairn/policy/scorer.h"

namespace cairn {

std::vector<PromptKept> prompt_kept(const LayerScores& layer) {
  std::vector<PromptKept> kept;
  for (std::size_t head = 0; head < layer.kv_heads; ++head) {
    std::vector<std::int32_t> held;
    for (std::size_t slot = 0; slot < layer.slots; ++slot) {
      if (const std::int32_t position = layer.positions[head * layer.slots + slot]; position != kNoToken) {
        held.push_back(position);
      }
    }
    const std::size_t old = held.size() - std::min(held.size(), kAgingTokens);
    kept.push_back({.tokens = held.size(), .aging_from = old < held.size() ? held[old] : 0});
  }
  return kept;
}

LayerKeep keep_by_age(const PolicySpec& policy, const LayerScores& layer, std::span<const PromptKept> kept,
                      std::size_t prompt_tokens) {
  LayerKeep keep;
  for (std::size_t list = 0; list < retention::lists_of(policy, layer); ++list) {
    retention::Candidates candidates = retention::gather(policy, layer, list);
    const double share = static_cast<double>(kept[list].tokens) / static_cast<double>(prompt_tokens);
    const auto budget = static_cast<std::size_t>(std::llround(share * static_cast<double>(candidates.tokens)));
    const auto aging = std::ranges::lower_bound(candidates.positions, kept[list].aging_from);
    const auto old = static_cast<std::size_t>(aging - candidates.positions.begin());
    std::vector<std::uint32_t> stay = std::move(candidates.stay);
    stay.insert(stay.end(), candidates.slots.begin(), candidates.slots.begin() + static_cast<std::ptrdiff_t>(old));
    const std::size_t held = stay.size() + candidates.tail;
    const std::size_t newest = std::min(candidates.slots.size() - old, budget - std::min(budget, held));
    stay.insert(stay.end(), candidates.slots.end() - static_cast<std::ptrdiff_t>(newest), candidates.slots.end());
    std::ranges::sort(stay);
    keep.heads.push_back(std::move(stay));
  }
  return keep;
}

}  // namespace cairn

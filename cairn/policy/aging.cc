// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/aging.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "cairn/policy/candidates.h"
#include "cairn/policy/scorer.h"

namespace cairn {

std::vector<std::vector<PromptKept>> prompt_kept(const PolicySpec& policy, std::span<const LayerScores> layers,
                                                 std::size_t prompt_tokens) {
  std::vector<std::vector<PromptKept>> kept;
  double sum = 0;
  std::size_t heads = 0;
  for (const LayerScores& layer : layers) {
    std::vector<PromptKept>& own = kept.emplace_back();
    for (std::size_t head = 0; head < layer.kv_heads; ++head) {
      std::vector<std::int32_t> held;
      for (std::size_t slot = 0; slot < layer.slots; ++slot) {
        if (const std::int32_t position = layer.positions[head * layer.slots + slot]; position != kNoToken) {
          held.push_back(position);
        }
      }
      const std::size_t old = held.size() - std::min(held.size(), kAgingTokens);
      own.push_back({.share = static_cast<double>(held.size()) / static_cast<double>(prompt_tokens),
                     .aging_from = old < held.size() ? held[old] : 0});
      sum += own.back().share;
      ++heads;
    }
  }
  // A rounded budget may be half a token more than `keep`, which is nothing to correct.
  const double most = (policy.keep + 0.5 / static_cast<double>(prompt_tokens)) * static_cast<double>(heads);
  if (sum <= most) return kept;
  for (std::vector<PromptKept>& layer : kept) {
    for (PromptKept& head : layer) head.share *= policy.keep * static_cast<double>(heads) / sum;
  }
  return kept;
}

LayerKeep keep_by_age(const PolicySpec& policy, const LayerScores& layer, std::span<const PromptKept> kept) {
  LayerKeep keep;
  for (std::size_t list = 0; list < retention::lists_of(policy, layer); ++list) {
    retention::Candidates candidates = retention::gather(policy, layer, list);
    const auto budget =
        static_cast<std::size_t>(std::llround(kept[list].share * static_cast<double>(candidates.tokens)));
    const std::size_t free = budget - std::min(budget, candidates.held());
    const auto aging = std::ranges::lower_bound(candidates.positions, kept[list].aging_from);
    const auto old = static_cast<std::size_t>(aging - candidates.positions.begin());
    const std::size_t young = candidates.slots.size() - old;
    // Protected ones are among the last.
    const std::size_t last =
        kAgingTokens - std::min(kAgingTokens, std::max<std::size_t>(policy.recent, candidates.tail));
    const std::size_t old_kept = std::min(old, free - std::min({free, young, last}));
    const std::size_t young_kept = std::min(young, free - old_kept);
    std::vector<std::uint32_t> stay = std::move(candidates.stay);
    const auto end_of_old = candidates.slots.begin() + static_cast<std::ptrdiff_t>(old);
    stay.insert(stay.end(), end_of_old - static_cast<std::ptrdiff_t>(old_kept), end_of_old);
    stay.insert(stay.end(), candidates.slots.end() - static_cast<std::ptrdiff_t>(young_kept), candidates.slots.end());
    std::ranges::sort(stay);
    keep.heads.push_back(std::move(stay));
  }
  return keep;
}

}  // namespace cairn

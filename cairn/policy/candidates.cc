// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/candidates.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <span>

#include "cairn/policy/scorer.h"

namespace cairn::retention {
namespace {

// A slot as a list sees it: of one head, or of those that hold it.
struct Token {
  std::int32_t position = kNoToken;
  double score = 0;
};

Token token_at(const LayerScores& layer, std::size_t first_head, std::size_t end_head, std::size_t slot) {
  Token token;
  std::size_t holders = 0;
  for (std::size_t head = first_head; head < end_head; ++head) {
    const std::size_t i = head * layer.slots + slot;
    if (layer.positions[i] == kNoToken) continue;
    if (holders++ == 0) token.position = layer.positions[i];
    // A NaN would leave sorting without an order.
    token.score += std::isfinite(layer.scores[i]) ? static_cast<double>(layer.scores[i])
                                                  : -static_cast<double>(std::numeric_limits<float>::max());
  }
  if (holders > 1) token.score /= static_cast<double>(holders);
  return token;
}

// The mean of the greater half of these, rounded up.
double better_half(std::span<const double> scores) {
  std::vector<double> best(scores.begin(), scores.end());
  const std::size_t count = (best.size() + 1) / 2;
  std::ranges::sort(best, std::greater<>());
  return std::accumulate(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(count), 0.0) /
         static_cast<double>(count);
}

}  // namespace

std::size_t lists_of(const PolicySpec& policy, const LayerScores& layer) {
  return policy.per_head ? layer.kv_heads : std::min(layer.kv_heads, 1u);
}

Candidates gather(const PolicySpec& policy, const LayerScores& layer, std::size_t list) {
  const std::size_t first_head = policy.per_head ? list : 0, end_head = policy.per_head ? list + 1 : layer.kv_heads;
  Candidates found;
  for (const std::int32_t position : layer.positions) {
    found.tokens = std::max(found.tokens, static_cast<std::size_t>(std::int64_t{position} + 1));
  }
  const std::size_t old = found.tokens - std::min<std::size_t>(found.tokens, policy.recent);
  for (std::size_t slot = 0; slot < layer.slots; ++slot) {
    const Token token = token_at(layer, first_head, end_head, slot);
    if (token.position == kNoToken) continue;
    found.least_score = found.occupied++ == 0 ? token.score : std::min(found.least_score, token.score);
    found.prompt += slot < layer.fixed_before ? 1 : 0;
    const auto position = static_cast<std::size_t>(token.position);
    const bool fixed = slot < layer.fixed_before || slot >= layer.fixed_from;
    if (fixed || position < policy.sinks || position >= old) {
      found.held_score += token.score;
      if (slot >= layer.fixed_from) {
        ++found.tail;
      } else {
        found.stay.push_back(static_cast<std::uint32_t>(slot));
      }
    } else {
      found.slots.push_back(static_cast<std::uint32_t>(slot));
      found.positions.push_back(token.position);
      found.scores.push_back(token.score);
    }
  }
  found.prompt = std::min(found.prompt, found.tokens);
  const auto rest = static_cast<double>(found.tokens - found.prompt);
  const auto wanted = found.prompt + static_cast<std::size_t>(std::llround(policy.keep * rest));
  found.base = std::clamp(wanted, found.held(), found.occupied);
  return found;
}

void hold_newest(Candidates& candidates, double share, std::size_t budget) {
  const auto newest = static_cast<std::size_t>(share * static_cast<double>(budget));
  const std::size_t old = candidates.tokens - std::min(candidates.tokens, newest);
  const std::size_t stayed = candidates.stay.size();
  while (!candidates.slots.empty() && candidates.held() < budget &&
         static_cast<std::size_t>(candidates.positions.back()) >= old) {
    candidates.stay.push_back(candidates.slots.back());
    candidates.held_score += candidates.scores.back();
    candidates.slots.pop_back();
    candidates.positions.pop_back();
    candidates.scores.pop_back();
  }
  if (candidates.stay.size() > stayed) std::ranges::sort(candidates.stay);
}

std::vector<Unit> units_of(const PolicySpec& policy, const Candidates& candidates) {
  const auto unit = static_cast<std::int32_t>(policy.unit);
  std::vector<Unit> units;
  units.reserve(candidates.slots.size() / policy.unit + 2);
  for (std::size_t i = 0; i < candidates.slots.size(); ++i) {
    const std::int32_t position = candidates.positions[i];
    if (units.empty() || units.back().position / unit != position / unit) {
      units.push_back({0, position, static_cast<std::uint32_t>(i), 0});
    }
    units.back().score += candidates.scores[i];
    ++units.back().count;
  }
  for (Unit& each : units) {
    each.score = policy.unit_by_best ? better_half(std::span(candidates.scores).subspan(each.first, each.count))
                                     : each.score / static_cast<double>(each.count);
  }
  return units;
}

bool comes_before(const Unit& a, const Unit& b) {
  return a.score != b.score ? a.score > b.score : a.position < b.position;
}

}  // namespace cairn::retention

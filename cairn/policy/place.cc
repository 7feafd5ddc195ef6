// SPDX-License-Identifier: Apache-2.0
// Scorers by position alone.
#include "cairn/base/random.h"
#include "cairn/policy/scorer.h"

namespace cairn {
namespace {

void score_recency(const LayerEvidence& evidence, const PolicySpec&, std::span<float> scores) {
  for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = static_cast<float>(evidence.positions[i]);
}

// Uniform in [0, 1), and of the token: what is chosen later agrees with what was chosen before.
void score_random(const LayerEvidence& evidence, const PolicySpec&, std::span<float> scores) {
  for (std::uint32_t head = 0; head < evidence.shape.kv_heads; ++head) {
    const std::uint64_t seed = SeededRandom(evidence.seed, "policy.random", evidence.layer, head).next();
    for (std::size_t i = head * evidence.slots; i < (head + 1) * evidence.slots; ++i) {
      const auto position = static_cast<std::uint64_t>(std::int64_t{evidence.positions[i]});
      scores[i] = static_cast<float>(SeededRandom(seed ^ position).unit());
    }
  }
}

}  // namespace

std::span<const Scorer> place_scorers() {
  static const Scorer rows[] = {
      {"recency", {}, "Xiao 2023, arXiv 2309.17453", score_recency},
      {"random", {}, "", score_random},
  };
  return rows;
}

}  // namespace cairn

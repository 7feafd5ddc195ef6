// SPDX-License-Identifier: Apache-2.0
// Scorers by the attention that probes give. What a probe is, and how its weights become `mass`, says the row.
#include <algorithm>

#include "cairn/policy/scorer.h"

namespace cairn {
namespace {

// The mean over the probes. Tokens within the window are seen by fewer: they get less, and policies keep them anyway.
void score_mean(const LayerEvidence& evidence, const PolicySpec&, std::span<float> scores) {
  const auto probes = static_cast<float>(std::max(evidence.probes, 1u));
  for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = evidence.mass[i] / probes;
}

void score_as_given(const LayerEvidence& evidence, const PolicySpec&, std::span<float> scores) {
  std::copy_n(evidence.mass, scores.size(), scores.begin());
}

// The mean over the probes that could see the token: a plain sum favours early tokens, which more queries see.
void score_by_seen(const LayerEvidence& evidence, const PolicySpec&, std::span<float> scores) {
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const std::uint32_t seen = evidence.seen_by[i];
    scores[i] = seen == 0 ? 0.0f : evidence.mass[i] / static_cast<float>(seen);
  }
}

}  // namespace

std::span<const Scorer> mass_scorers() {
  static const Scorer rows[] = {
      {"mass", {.probes = Probes::kLast}, "Li 2024, arXiv 2404.14469", score_mean},
      {"peak",
       {.probes = Probes::kLast, .mass = MassRule::kHeadMean},
       "Oren 2024, arXiv 2401.06104 (one query); Zeng 2025, arXiv 2501.06807",
       score_as_given},
      {"replay",
       {.probes = Probes::kReplay, .mass = MassRule::kGreatest},
       "Kim 2025, arXiv 2505.23416",
       score_as_given},
      {"sum", {.probes = Probes::kAll}, "Zhang 2023, arXiv 2306.14048", score_as_given},
      {"observed", {.probes = Probes::kAll}, "", score_by_seen},
      {"salience", {.probes = Probes::kTenth}, "He 2024, arXiv 2405.14256", score_by_seen},
  };
  return rows;
}

}  // namespace cairn

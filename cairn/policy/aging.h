// SPDX-License-Identifier: Apache-2.0
// What a sequence lets go of while it decodes, without looking at scores again: one slot ages out for each that is one
// too many (PrefixKV, Wang et al. 2024, arXiv 2412.03409). What the prompt left stays, save its last kAgingTokens;
// from these on the oldest goes first.
//
// Functions without state that may be called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/policy/policy.h"
#include "cairn/policy/retention.h"

namespace cairn {

// How far from the end of what the prompt left the paper's slot lies that goes.
inline constexpr std::size_t kAgingTokens = 25;

// Under one KV head as its prompt had ended. A value.
struct PromptKept {
  double share = 0;             // of all tokens that it keeps from then on
  std::int32_t aging_from = 0;  // the position of the first of the last kAgingTokens that it held
};

// By layer and KV head, as a prompt of `prompt_tokens` tokens, more than none, has been thinned out: the share of it
// that each holds. Where protected tokens alone made that more than PolicySpec::keep on the mean, as after short
// prompts, shares are so much smaller that the mean is `keep`. Of the layers positions alone are looked at.
std::vector<std::vector<PromptKept>> prompt_kept(const PolicySpec& policy, std::span<const LayerScores> layers,
                                                 std::size_t prompt_tokens);

// Each list keeps its share of all tokens. What the prompt left gives way to the last kAgingTokens tokens, its oldest
// first, where the share does not hold both. Requires: `kept` is of the same layer.
LayerKeep keep_by_age(const PolicySpec& policy, const LayerScores& layer, std::span<const PromptKept> kept);

}  // namespace cairn

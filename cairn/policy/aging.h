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
  std::size_t tokens = 0;       // that it held
  std::int32_t aging_from = 0;  // the position of the first of the last kAgingTokens of them
};

// By KV head; `layer` needs its positions alone.
std::vector<PromptKept> prompt_kept(const LayerScores& layer);

// Each list keeps as large a share of all tokens as it had of the prompt's. Requires: `kept` is of the same layer, with
// a prompt of `prompt_tokens` tokens, more than none.
LayerKeep keep_by_age(const PolicySpec& policy, const LayerScores& layer, std::span<const PromptKept> kept,
                      std::size_t prompt_tokens);

}  // namespace cairn

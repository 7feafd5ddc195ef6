// SPDX-License-Identifier: Apache-2.0
// Which share of a text's tokens each layer keeps under a policy, on the mean over windows of a text for calibration:
// PrefixKV's offline profile (policy/budget_profile.h).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/policy/budget_profile.h"

namespace cairn::eval {

struct BudgetTuning {
  std::string policy = "prefixkv";  // whose scores and budgets; see parse_policy()
  std::size_t windows = 8;          // at most; a short text gives fewer, since windows do not overlap
  std::uint32_t context = 2048;     // tokens of a window
  std::uint64_t kv_budget_bytes = std::uint64_t{2} << 30;  // while a window is computed
};

// What long calls report and obey; both may be left empty.
struct BudgetTuningControl {
  std::function<void(std::size_t done, std::size_t total)> on_progress{};  // in tokens
  const std::atomic<bool>* cancel = nullptr;
};

struct TunedBudgets {
  BudgetProfile profile;       // origin left empty but for the policy
  std::size_t windows = 0;     // that were measured
  std::vector<double> spread;  // of each layer's share: standard deviation over the windows; 0 where there is one
};

// A policy's text with budgets that move tokens between layers: its own if they do, else `prefix`. Errors: those of
// parse_policy, kInvalidArgument for a policy that has no such budgets to find: of reading, one that keeps everything
// or the prompt, or that has a profile or a chunk.
Result<PolicySpec> budget_policy(const std::string& text);

// Windows are spread evenly over `tokens`, none over a part of another, and begin with the model's begin token, if it
// has one. Deterministic. Errors: those of budget_policy and of computing; kInvalidArgument where the text is shorter
// than a window, kCancelled.
Result<TunedBudgets> tune_budgets(const Engine& engine, std::span<const TokenId> tokens, const BudgetTuning& tuning,
                                  const BudgetTuningControl& control = {});

}  // namespace cairn::eval

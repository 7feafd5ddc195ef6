// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/budget_tuning.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "cairn/cache/token_policy.h"
#include "cairn/policy/policy.h"

namespace cairn::eval {
namespace {

// Of each layer, the share of a window's tokens that it kept.
Result<std::vector<double>> window_shares(Engine& engine, std::span<const TokenId> window,
                                          const PrefillControl& control) {
  Sequence sequence = engine.open({});
  CAIRN_TRY_VOID(engine.prefill(sequence, window, control));
  std::vector<double> shares;
  for (const PolicyReport::LayerKept& layer : sequence.policy_report().layers) {
    shares.push_back(static_cast<double>(layer.kept) / static_cast<double>(layer.before));
  }
  return shares;
}

// A share of a hundred thousandth is less than a token of any context here.
double rounded(double share) {
  return std::clamp(std::round(share * 1e5) / 1e5, 1e-5, 1.0);
}

}  // namespace

Result<PolicySpec> budget_policy(const std::string& text) {
  CAIRN_TRY(PolicySpec policy, parse_policy(text == "none" ? "full" : text));
  const auto refuse = [&](const std::string& why) {
    return fail(ErrorCode::kInvalidArgument, "policy '" + policy.text + "' has no budgets to find: " + why);
  };
  if (policy.reads_less()) return refuse("it keeps every token");
  if (policy.keep == 1) return refuse("it keeps every token; give a keep below 1");
  if (policy.prompt_stays) return refuse("it keeps prompts whole");
  if (policy.chunk != 0) return refuse("it thins prompts out on their way; leave chunk out");
  if (!policy.demote.empty()) return refuse("demoted tokens have no budget; leave demote out, or take 'none'");
  if (policy.profile != nullptr) return refuse("it takes them from a profile");
  if (!policy.moves_between_layers()) return parse_policy(policy.text + "+budget=prefix");
  return policy;
}

Result<TunedBudgets> tune_budgets(const Engine& engine, std::span<const TokenId> tokens, const BudgetTuning& tuning,
                                  const BudgetTuningControl& control) {
  CAIRN_TRY(const PolicySpec policy, budget_policy(tuning.policy));
  const std::size_t count = tuning.context;
  if (tuning.windows == 0 || count == 0)
    return fail(ErrorCode::kInvalidArgument, "there must be a window, and tokens in it");
  if (tokens.size() < count) {
    return fail(ErrorCode::kInvalidArgument, "the text has " + std::to_string(tokens.size()) +
                                                 " tokens, but a window " + std::to_string(count) +
                                                 ": give a longer text or a shorter --context");
  }
  // Those that overlap say the same twice, and make the spread look smaller than it is.
  const std::size_t windows = std::min(tuning.windows, tokens.size() / count);
  CAIRN_TRY(const std::unique_ptr<Engine> own,
            engine.sibling({.kv_budget_bytes = tuning.kv_budget_bytes, .policy = policy.text, .reuse = false}));
  const Tokenizer& tokenizer = engine.tokenizer();
  std::vector<std::vector<double>> found;
  for (std::size_t w = 0; w < windows; ++w) {
    const std::size_t from = windows == 1 ? 0 : (tokens.size() - count) * w / (windows - 1);
    std::vector<TokenId> window(tokens.begin() + static_cast<std::ptrdiff_t>(from),
                                tokens.begin() + static_cast<std::ptrdiff_t>(from + count));
    if (tokenizer.adds_bos() && tokenizer.bos()) window.front() = *tokenizer.bos();
    PrefillControl part{.cancel = control.cancel};
    if (control.on_progress) {
      part.on_progress = [&](std::size_t done, std::size_t) { control.on_progress(w * count + done, windows * count); };
    }
    CAIRN_TRY(found.emplace_back(), window_shares(*own, window, part));
  }
  TunedBudgets tuned;
  tuned.windows = windows;
  tuned.profile.model = engine.recipe().weights;
  tuned.profile.policy = policy.text;
  for (std::size_t l = 0; l < found.front().size(); ++l) {
    double sum = 0, squares = 0;
    for (const std::vector<double>& shares : found) sum += shares[l];
    const double mean = sum / static_cast<double>(windows);
    for (const std::vector<double>& shares : found) squares += (shares[l] - mean) * (shares[l] - mean);
    tuned.profile.shares.push_back(rounded(mean));
    tuned.spread.push_back(windows == 1 ? 0 : std::sqrt(squares / static_cast<double>(windows - 1)));
  }
  const double sum = std::accumulate(tuned.profile.shares.begin(), tuned.profile.shares.end(), 0.0);
  tuned.profile.keep = rounded(sum / static_cast<double>(tuned.profile.shares.size()));
  return tuned;
}

}  // namespace cairn::eval

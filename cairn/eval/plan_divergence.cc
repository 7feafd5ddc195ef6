// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/plan_divergence.h"

#include <algorithm>

#include "cairn/eval/text_run.h"

namespace cairn {
namespace {

// Each judged engine has a cache of its own, so that many plans are measured in several runs.
constexpr std::size_t kPlansAtOnce = 16;

double mean_of(std::span<const WindowScores> windows) {
  double sum = 0;
  std::size_t tokens = 0;
  for (const WindowScores& window : windows) {
    for (const TokenScore& score : window) sum += score.kl;
    tokens += window.size();
  }
  return sum / static_cast<double>(tokens);
}

}  // namespace

Result<std::vector<double>> PlanDivergence::mean_kl(
    std::span<const CodecPlan> plans, const Windows& windows,
    const std::function<void(std::size_t, std::size_t)>& on_progress) const {
  std::vector<double> divergences;
  CAIRN_TRY(const auto exact, JudgedEngine::make(engine_, EvalRecipe{}, options_));
  const std::size_t total = plans.size() * windows.size();
  for (std::size_t first = 0; first < plans.size(); first += kPlansAtOnce) {
    const std::size_t count = std::min(kPlansAtOnce, plans.size() - first);
    std::vector<std::unique_ptr<JudgedEngine>> judged;
    for (const CodecPlan& plan : plans.subspan(first, count)) {
      EvalRecipe recipe;
      recipe.plan = std::make_shared<const CodecPlan>(plan);
      recipe.text = plan.canonical();
      CAIRN_TRY(judged.emplace_back(), JudgedEngine::make(engine_, recipe, options_));
    }
    TextRunControl control{.on_progress = {}, .cancel = &cancel_};
    if (on_progress) {
      control.on_progress = [&](std::size_t done, std::size_t) {
        on_progress(first * windows.size() + done * count, total);
      };
    }
    CAIRN_TRY(const TextRun run, run_text({.engine = exact.get()}, judged, windows, control));
    if (run.stopped) return fail(ErrorCode::kCancelled, "interrupted while plans were measured; no plan was written");
    for (const JudgedText& text : run.recipes) divergences.push_back(mean_of(text.windows));
  }
  return divergences;
}

}  // namespace cairn

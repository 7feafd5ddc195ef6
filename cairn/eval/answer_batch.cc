// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/answer_batch.h"

#include <algorithm>

#include "cairn/engine/generate.h"

namespace cairn {
namespace {

Status check(const std::atomic<bool>* cancel) {
  if (cancel == nullptr || !cancel->load(std::memory_order_relaxed)) return {};
  return fail(ErrorCode::kCancelled, "stopped between two passes");
}

// Cut at block borders, like every prefill of a judged cache.
Status compute_prompts(JudgedEngine& judged, std::span<PendingAnswer> pending, const std::atomic<bool>* cancel) {
  std::vector<std::size_t> done(pending.size());
  for (;;) {
    CAIRN_TRY_VOID(check(cancel));
    std::vector<ForwardRows> batch;
    std::size_t rows = 0;
    for (std::size_t i = 0; i < pending.size(); ++i) {
      PendingAnswer& each = pending[i];
      const std::size_t to_border = kBlockTokens - each.sequence.size() % kBlockTokens;
      const std::size_t count =
          std::min({each.prompt.size() - done[i], to_border, std::size_t{Forward::kMaxRows} - rows});
      if (count == 0) continue;
      const bool last = done[i] + count == each.prompt.size();
      batch.push_back(
          {&each.sequence, std::span(each.prompt).subspan(done[i], count), last ? 1u : 0u, each.logits.data()});
      done[i] += count;
      rows += count;
    }
    if (batch.empty()) return {};
    CAIRN_TRY_VOID(judged.forward(batch));
  }
}

struct RunningAnswer {
  PendingAnswer* pending;
  GenerationState state;
};

// Greedy by hand: a damaged cache may give logits that a sampler refuses, and its answers are judged all the same.
TokenId likeliest(const std::vector<float>& logits) {
  return static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
}

// Whether the answer has ended.
bool advance(RunningAnswer& answer) {
  PendingAnswer& pending = *answer.pending;
  const GenerationStep step = answer.state.take(likeliest(pending.logits));
  pending.text += step.text;
  if (!step.stop) return false;
  pending.text += answer.state.finish();
  pending.num_tokens = answer.state.ids().size() - (step.stop == StopReason::kString ? 1 : 0);
  pending.hit_cap = step.stop == StopReason::kLength;
  return true;
}

}  // namespace

Status answer_all(JudgedEngine& judged, std::span<PendingAnswer> pending, const std::atomic<bool>* cancel) {
  const Tokenizer& tokenizer = judged.engine().tokenizer();
  for (PendingAnswer& each : pending) each.logits.resize(tokenizer.size());
  CAIRN_TRY_VOID(compute_prompts(judged, pending, cancel));
  std::vector<RunningAnswer> active;
  for (PendingAnswer& each : pending) {
    if (each.max_tokens == 0) continue;
    active.push_back({&each, {tokenizer, {.max_tokens = each.max_tokens, .stop = {"\n"}, .continues_text = true}}});
  }
  while (!active.empty()) {
    CAIRN_TRY_VOID(check(cancel));
    std::erase_if(active, advance);
    for (std::size_t first = 0; first < active.size(); first += Forward::kMaxRows) {
      std::vector<ForwardRows> batch;
      for (std::size_t i = first; i < std::min<std::size_t>(active.size(), first + Forward::kMaxRows); ++i) {
        PendingAnswer& each = *active[i].pending;
        batch.push_back({&each.sequence, std::span(active[i].state.ids()).last(1), 1, each.logits.data()});
      }
      CAIRN_TRY_VOID(judged.forward(batch));
    }
  }
  return {};
}

}  // namespace cairn

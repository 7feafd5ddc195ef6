// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/answer_batch.h"

#include <algorithm>

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

// Whether the token ends the answer, which then keeps what stands before its newline: vocabularies have ".\n".
bool ends_answer(const Tokenizer& tokenizer, TokenId token, std::string& last_bytes) {
  if (tokenizer.is_end_of_generation(token)) return true;
  const std::string_view bytes = tokenizer.token_bytes(token);
  const std::size_t line_end = bytes.find('\n');
  if (line_end == bytes.npos) return false;
  last_bytes = bytes.substr(0, line_end);
  return true;
}

}  // namespace

Status answer_all(JudgedEngine& judged, std::span<PendingAnswer> pending, const std::atomic<bool>* cancel) {
  const Tokenizer& tokenizer = judged.engine().tokenizer();
  for (PendingAnswer& each : pending) each.logits.resize(tokenizer.size());
  CAIRN_TRY_VOID(compute_prompts(judged, pending, cancel));
  std::vector<PendingAnswer*> active;
  for (PendingAnswer& each : pending) {
    if (each.max_tokens > 0) active.push_back(&each);
  }
  while (!active.empty()) {
    CAIRN_TRY_VOID(check(cancel));
    std::vector<PendingAnswer*> going_on;
    for (PendingAnswer* each : active) {
      const auto token = static_cast<TokenId>(std::ranges::max_element(each->logits) - each->logits.begin());
      each->ended = ends_answer(tokenizer, token, each->last_bytes);
      if (each->ended) continue;
      each->answer.push_back(token);
      if (each->answer.size() < each->max_tokens) going_on.push_back(each);
    }
    active = std::move(going_on);
    for (std::size_t first = 0; first < active.size(); first += Forward::kMaxRows) {
      std::vector<ForwardRows> batch;
      for (std::size_t i = first; i < std::min<std::size_t>(active.size(), first + Forward::kMaxRows); ++i) {
        PendingAnswer& each = *active[i];
        batch.push_back({&each.sequence, std::span(each.answer).last(1), 1, each.logits.data()});
      }
      CAIRN_TRY_VOID(judged.forward(batch));
    }
  }
  return {};
}

}  // namespace cairn

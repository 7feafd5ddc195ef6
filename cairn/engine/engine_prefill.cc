// SPDX-License-Identifier: Apache-2.0
// Prefill of one sequence, chunk by chunk, while a store may still be loading some of it.
#include <algorithm>
#include <chrono>
#include <string>

#include "cairn/base/clock.h"
#include "cairn/block/shape.h"
#include "cairn/engine/engine.h"

namespace cairn {
namespace {

// Between looks at how fast blocks come.
constexpr std::chrono::milliseconds kLook(50);

}  // namespace

Result<std::span<const float>> Engine::prefill(Sequence& sequence, std::span<const TokenId> tokens,
                                               const PrefillControl& control) {
  if (tokens.empty()) return fail(ErrorCode::kInvalidArgument, "there are no tokens to compute");
  const std::size_t base = sequence.size(), end = base + tokens.size();
  CAIRN_TRY_VOID(check_context(end));
  CAIRN_TRY_VOID(check_budget(end));
  sequence.begin_prefill();
  std::size_t max_rows = Forward::kMaxRows;
  while (sequence.size() < end) {
    if (control.cancel != nullptr && control.cancel->load(std::memory_order_relaxed)) {
      return fail(ErrorCode::kCancelled, "stopped after " + std::to_string(sequence.size() - base) + " of " +
                                             std::to_string(tokens.size()) + " tokens");
    }
    while (sequence.poll_load({.chunk = Forward::kMaxRows, .look = kLook}) == LoadStep::kWait) {
    }
    const std::span<const TokenId> left = tokens.subspan(sequence.size() - base);
    const std::size_t count = chunk_rows(sequence.size(), left.size(), max_rows);
    const ForwardRows rows[] = {{&sequence, left.first(count), count == left.size() ? 1u : 0u, logits_.data()}};
    const auto start = std::chrono::steady_clock::now();
    if (Status computed = forward_->run(rows); !computed) {
      if (sequence.load_state() == LoadState::kLost) {
        sequence.recover_load(*pool_);
      } else if (computed.error().code == ErrorCode::kOutOfBudget && count > 1) {
        max_rows = count / 2;  // the blocks that a pass touches are all open in it
      } else {
        if (sequence.load_state() == LoadState::kJoined) sequence.recover_load(*pool_);
        return std::unexpected(std::move(computed).error());
      }
      continue;
    }
    // Shorter pieces say little about prefill.
    if (connector_ != nullptr && count >= kBlockTokens) connector_->observe_prefill(count, seconds_since(start));
    if (control.on_progress) control.on_progress(sequence.size() - base, tokens.size());
  }
  CAIRN_TRY_VOID(sequence.finish_prefill(*pool_));
  return std::span<const float>(logits_);
}

}  // namespace cairn

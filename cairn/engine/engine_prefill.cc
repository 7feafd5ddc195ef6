// SPDX-License-Identifier: Apache-2.0
// Prefill of one sequence, chunk by chunk, while a store may still be loading some of it.
#include <algorithm>
#include <chrono>
#include <string>

#include "cairn/base/clock.h"
#include "cairn/block/chunk.h"
#include "cairn/engine/engine.h"

namespace cairn {
namespace {

// Between looks at how fast blocks come.
constexpr std::chrono::milliseconds kLook(50);

}  // namespace

void Engine::take_incoming(Sequence& sequence) {
  if (!sequence.at_awaited_blocks()) return;
  const auto start = std::chrono::steady_clock::now();
  KvConnector::Advice advice;
  do {
    advice = connector_->advise(sequence.incoming(), sequence.size(), Forward::kMaxRows, kLook);
  } while (advice == KvConnector::Advice::kWait);
  if (advice == KvConnector::Advice::kJoin) sequence.join_incoming();
  if (advice == KvConnector::Advice::kAbandon) sequence.drop_incoming();
  connector_->count_load_time(start);
}

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
    take_incoming(sequence);
    const std::span<const TokenId> left = tokens.subspan(sequence.size() - base);
    const std::size_t count = chunk_rows(sequence.size(), left.size(), max_rows);
    const ForwardRows rows[] = {{&sequence, left.first(count), count == left.size() ? 1u : 0u, logits_.data()}};
    const auto start = std::chrono::steady_clock::now();
    if (Status computed = forward_->run(rows); !computed) {
      if (sequence.lost_blocks()) {
        sequence.recover_from_loss(*pool_);
      } else if (computed.error().code == ErrorCode::kOutOfBudget && count > 1) {
        max_rows = count / 2;  // the blocks that a pass touches are all open in it
      } else {
        if (sequence.joined_blocks()) sequence.recover_from_loss(*pool_);
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

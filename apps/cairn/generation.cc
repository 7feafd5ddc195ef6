// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/generation.h"

#include <algorithm>
#include <chrono>

#include "apps/cairn/interrupt.h"
#include "apps/cairn/progress.h"
#include "cairn/base/clock.h"

namespace cairn {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

std::string_view stop_name(Stop stop) {
  switch (stop) {
    case Stop::kEnd: return "end";
    case Stop::kLength: return "length";
    case Stop::kContext: return "context";
    case Stop::kInterrupted: return "interrupted";
  }
  return "?";
}

Result<Answered> generate(Engine& engine, Sequence& sequence, std::span<const TokenId> tokens, Sampler& sampler,
                          const GenerationOptions& options, const std::function<Status(TokenId)>& on_token) {
  const Clock::time_point start = Clock::now();
  Answered out;
  out.prompt_tokens = tokens.size();
  const std::size_t held = sequence.size();
  Progress progress("Reading the prompt");
  Result<std::span<const float>> logits =
      engine.prefill(sequence, tokens.subspan(held), {.on_progress = progress.counter(), .cancel = &interrupt_flag()});
  progress.finish();
  // In a conversation the turns before are in the sequence, whoever computed them.
  out.reused_tokens = std::max(held, sequence.reused_tokens());
  Clock::time_point first_token;
  while (true) {
    if (interrupted() || (!logits && logits.error().code == ErrorCode::kCancelled)) {
      out.stop = Stop::kInterrupted;
      break;
    }
    if (!logits) return std::unexpected(std::move(logits).error());
    CAIRN_TRY(const TokenId id, sampler.sample(*logits));
    if (out.ids.empty()) {
      first_token = Clock::now();
      out.first_token_s = seconds_since(start);
    }
    if (!options.ignore_eos && engine.tokenizer().is_end_of_generation(id)) {
      out.stop = Stop::kEnd;
      break;
    }
    out.ids.push_back(id);
    sampler.accept(id);
    CAIRN_TRY_VOID(on_token(id));
    if (out.ids.size() >= options.max_tokens) {
      out.stop = Stop::kLength;
      break;
    }
    if (sequence.size() >= engine.context()) {
      out.stop = Stop::kContext;
      break;
    }
    logits = engine.decode(sequence, id);
  }
  if (!out.ids.empty()) out.decode_s = seconds_since(first_token);
  return out;
}

}  // namespace cairn

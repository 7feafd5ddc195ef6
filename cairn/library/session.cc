// SPDX-License-Identifier: Apache-2.0
#include "cairn/session.h"

#include <algorithm>
#include <utility>

#include "cairn/engine/generate.h"
#include "cairn/library/states.h"

namespace cairn {

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::Session(Session&& other) noexcept = default;
Session& Session::operator=(Session&& other) noexcept = default;
Session::~Session() = default;

std::size_t Session::size() const {
  return state_->sequence.size();
}

std::span<const TokenId> Session::tokens() const {
  return state_->sequence.tokens();
}

std::size_t Session::reused_tokens() const {
  return state_->sequence.reused_tokens();
}

std::size_t Session::kv_bytes() const {
  return state_->sequence.bytes_held();
}

Result<std::span<const float>> Session::extend(std::span<const TokenId> tokens, const SessionHooks& hooks) {
  return state_->engine().prefill(state_->sequence, tokens, {.on_progress = hooks.on_progress, .cancel = hooks.cancel});
}

Result<Generated> Session::generate(std::span<const TokenId> prompt, const SamplerOptions& sampler,
                                    const GenerationOptions& options, const SessionHooks& hooks) {
  const std::span<const TokenId> held = tokens();
  if (prompt.size() <= held.size() || !std::ranges::equal(held, prompt.first(held.size()))) {
    return fail(ErrorCode::kInvalidArgument,
                "the prompt of " + std::to_string(prompt.size()) + " tokens does not go on from the session's " +
                    std::to_string(held.size()) + "; open a session on it, or trim this one");
  }
  CAIRN_TRY(Sampler draw, Sampler::make(sampler));
  for (const TokenId id : prompt) draw.accept(id);
  GenerationHooks inner{.prefill = {.on_progress = hooks.on_progress, .cancel = hooks.cancel}};
  if (hooks.on_text) {
    inner.on_step = [&hooks](const GenerationStep& step) -> Status {
      if (!step.text.empty()) hooks.on_text(step.text);
      return {};
    };
  }
  return cairn::generate(state_->engine(), state_->sequence, prompt, draw, options, inner);
}

Session Session::fork() const {
  return Session(std::make_unique<State>(State{state_->model, state_->sequence.fork()}));
}

Status Session::trim(std::size_t tokens) {
  return state_->sequence.trim(tokens);
}

}  // namespace cairn

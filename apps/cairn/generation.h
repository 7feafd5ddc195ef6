// SPDX-License-Identifier: Apache-2.0
// One answer: tokens that are not yet in the sequence are prefilled, then tokens are drawn until something ends it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/text/sampler.h"

namespace cairn {

enum class Stop : std::uint8_t { kEnd, kLength, kContext, kInterrupted };
std::string_view stop_name(Stop stop);  // "end", "length", "context", "interrupted"

struct GenerationOptions {
  std::size_t max_tokens = 512;
  bool ignore_eos = false;
};

struct Answered {
  std::vector<TokenId> ids;  // without the token that ended it
  Stop stop = Stop::kEnd;
  std::size_t prompt_tokens = 0;
  std::size_t reused_tokens = 0;
  double first_token_s = 0;  // from the call to the first token
  double decode_s = 0;       // of all tokens after the first

  double decode_rate() const { return ids.size() > 1 && decode_s > 0 ? double(ids.size() - 1) / decode_s : 0; }
};

// `tokens` is the whole text so far; the first sequence.size() of them are in the sequence already. `on_token` sees
// each new id at once. Draws a progress bar while prefilling and stops at interrupted(): what was drawn by then counts.
// Errors: those of Engine::prefill and Engine::decode, and of on_token.
Result<Answered> generate(Engine& engine, Sequence& sequence, std::span<const TokenId> tokens, Sampler& sampler,
                          const GenerationOptions& options, const std::function<Status(TokenId)>& on_token);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// What a client asks of the loop, free of HTTP and JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cairn/block/block_key.h"
#include "cairn/text/sampler.h"

namespace cairn {

struct GenerateRequest {
  std::string id{};      // for logs and the page: "chatcmpl-..."
  std::string tenant{};  // from the credential, never from the request
  std::vector<TokenId> prompt{};
  std::size_t max_tokens = 0;  // 0: as many as the context holds
  SamplerOptions sampler{};
  std::vector<std::string> stop{};  // the text ends before the first of them
  bool ignore_eos = false;
  std::optional<std::uint32_t> logprobs{};  // of each token, and of so many likeliest ones beside it
  bool chat = false;                        // plain text continues the prompt; an answer begins anew
};

struct TokenLogprob {
  TokenId id = 0;
  float logprob = 0;
};

// A token and the text that became certain with it: none while a character is incomplete or a stop string may have
// begun.
struct GeneratedPiece {
  std::string text{};
  TokenId id = 0;
  bool has_token = false;  // false: text that was held back, at the end
  std::optional<TokenLogprob> logprob{};
  std::vector<TokenLogprob> top_logprobs{};  // likeliest first
};

enum class FinishReason : std::uint8_t {
  kStop,       // the model or a stop string ended it
  kLength,     // max_tokens, or the context is full
  kCancelled,  // the client went away, or the server stops
  kError,      // see GenerationResult::error
};

// Where the time went, in seconds. `queued` until the sequence was opened for the first time.
struct GenerationTiming {
  double queued_s = 0, load_s = 0, prefill_s = 0, first_token_s = 0, total_s = 0;
  double longest_gap_s = 0;  // between two tokens
};

struct GenerationUsage {
  std::size_t prompt_tokens = 0;
  std::size_t cached_tokens = 0;  // of the prompt, not computed: from memory or a store
  std::size_t stored_tokens = 0;  // of these, from the store
  std::size_t completion_tokens = 0;
  std::size_t preempted = 0;  // how often it had to make room
};

struct GenerationResult {
  FinishReason reason = FinishReason::kStop;
  std::string error;  // with kError: one line
  GenerationUsage usage;
  GenerationTiming timing;
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// What an answer should be like, and what it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/tokens.h"

namespace cairn {

// How tokens are drawn. The same options, tokens and logits give the same tokens on every system.
struct SamplerOptions {
  float temperature = 0.8F;             // 0: the most likely token, always
  std::int32_t top_k = 40;              // keep the k most likely; 0: all
  float top_p = 0.95F;                  // keep the smallest set that reaches this probability; 1: all
  float min_p = 0.05F;                  // drop what is less likely than this share of the most likely; 0: nothing
  float repetition_penalty = 1.0F;      // above 1: tokens seen lately become less likely; 1: off
  std::int32_t repetition_window = 64;  // how many tokens count as lately; 0: off
  std::uint64_t seed = 0;
};

struct GenerationOptions {
  std::size_t max_tokens = 512;     // at least 1
  std::vector<std::string> stop{};  // the text ends before the first of them
  bool ignore_eos = false;          // end-of-generation tokens count like any other
  bool continues_text = false;      // the answer goes on in the prompt's text: a space in front is kept
};

enum class StopReason : std::uint8_t {
  kEnd,        // the model drew an end-of-generation token
  kString,     // a stop string came
  kLength,     // max_tokens were drawn
  kContext,    // the context is full
  kCancelled,  // the caller asked for it
};
std::string_view stop_reason_name(StopReason reason);  // "end", "string", "length", "context", "interrupted"

// What a token policy did to one sequence (docs/policies.md).
struct PolicyFigures {
  std::string policy{};             // as it is written in full; empty: there was none
  double kept = 1;                  // share of all tokens by when it last kept less, over layers and KV heads
  double demoted = 0;               // of the same, the share that it holds in fewer bits; the rest is gone
  std::size_t bytes_freed = 0;      // of keys and values
  std::size_t bytes_offloaded = 0;  // of keys and values, beside the KV budget
  std::uint64_t not_offloaded = 0;  // times that they could not be moved there
  std::string why_not_offloaded{};  // the last time
  double read = 1;                  // share of the pages that queries after the prompt read
  std::uint64_t put_off = 0;        // times that there was no room to keep less of an answer, which was tried later
};
// "h2o+keep=0.5 kept 50.0 % of the tokens and freed 26.7 MiB, found no room to keep less, 2 times", with "demoted 50.0
// %" between where it demotes; empty without a policy.
std::string policy_text(const PolicyFigures& figures);

struct Generated {
  std::vector<TokenId> ids{};  // without an end-of-generation token; with the tokens of a stop string
  std::string text{};
  StopReason stop = StopReason::kEnd;
  std::size_t prompt_tokens = 0;
  std::size_t reused_tokens = 0;
  std::size_t kv_bytes = 0;  // that the sequence holds at the end
  PolicyFigures policy{};
  double first_token_s = 0;  // from the call to the first token
  double decode_s = 0;       // of all tokens after the first

  double decode_rate() const { return ids.size() > 1 && decode_s > 0 ? double(ids.size() - 1) / decode_s : 0; }
};

}  // namespace cairn

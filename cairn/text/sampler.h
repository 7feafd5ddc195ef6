// SPDX-License-Identifier: Apache-2.0
// Picks the next token from logits: repetition penalty, top-k, top-p, min-p, temperature, then a draw, in this order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/generation.h"
#include "cairn/text/vocabulary.h"

namespace cairn {

// Random numbers of our own (xoshiro256**), so that a seed means the same on every system.
class SamplerRandom {
 public:
  explicit SamplerRandom(std::uint64_t seed);
  double next_unit();  // uniform in [0, 1), 53 bits

 private:
  std::array<std::uint64_t, 4> state_;
};

// The same options, accepted tokens and logits give the same tokens. Thread-compatible.
class Sampler {
 public:
  // Errors: kInvalidArgument, naming the option and its range.
  static Result<Sampler> make(const SamplerOptions& options);

  // logits: [vocabulary]. -inf excludes a token. Equal logits: the lower id counts as the more likely.
  // Errors: kInvalidArgument (no logits), kCorrupt (NaN or +inf, or every token excluded).
  Result<TokenId> sample(std::span<const float> logits);

  // Counts a token, from the prompt or just sampled, for the repetition penalty.
  void accept(TokenId token);

 private:
  struct Candidate {
    TokenId id;
    float logit;
  };

  explicit Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {}
  Status load(std::span<const float> logits);
  void keep_top_k();
  void keep_top_p();
  void keep_min_p();
  TokenId draw();

  SamplerOptions options_;
  SamplerRandom random_;
  std::deque<TokenId> recent_;
  std::unordered_map<TokenId, int> recent_count_;
  std::vector<Candidate> candidates_;  // of the current call, in id order; kept for its memory
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Generation: which token comes next, what text it gives, and when the answer ends. GenerationState decides this for
// one request and leaves computing to its caller; generate() drives one sequence with it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/generation.h"
#include "cairn/text/sampler.h"
#include "cairn/text/tokenizer.h"

namespace cairn {

// Ends a text before the first of some stop strings, and holds back what may turn out to begin one. Empty stop strings
// count for nothing. Thread-compatible.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // More text: returns what is certain now. Nothing more once stopped().
  std::string feed(std::string_view text);
  // There is no more: returns what was held back.
  std::string finish() { return std::exchange(held_, {}); }
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

// One token, and what became certain with it.
struct GenerationStep {
  std::optional<TokenId> id{};       // none: the model ended the answer, or text was held back until its end
  std::string text{};                // whole characters; may be empty, or belong to earlier tokens
  std::optional<StopReason> stop{};  // kEnd, kString or kLength: nothing may be fed after it
};

// The tokens and the text of one answer. The caller computes logits, draws tokens in whatever order suits it, and feeds
// them back. Keeps a reference to the tokenizer. Thread-compatible.
class GenerationState {
 public:
  GenerationState(const Tokenizer& tokenizer, const GenerationOptions& options);

  // Draws from the logits and takes what was drawn. Errors: those of Sampler::sample.
  Result<GenerationStep> next(std::span<const float> logits, Sampler& sampler);
  // Takes a token that was drawn elsewhere. Requires: no step so far had `stop`.
  GenerationStep take(TokenId id);
  // The answer has ended: the text that was held back, of a character or of what might have begun a stop string.
  // Empty after a stop string, and when called again.
  std::string finish();

  // The answer so far. An end-of-generation token that ended it is not among them; the tokens of a stop string are.
  const std::vector<TokenId>& ids() const { return ids_; }

 private:
  const Tokenizer* tokenizer_;
  std::size_t max_tokens_;
  bool ignore_eos_;
  TokenStream stream_;
  StopMatcher matcher_;
  std::vector<TokenId> ids_;
};

// What generate() reports and obeys; all may be left empty.
struct GenerationHooks {
  PrefillControl prefill{};  // its `cancel` is also looked at before each token
  // Before a token is drawn. The logits are valid during the call.
  std::function<void(std::span<const float> logits)> on_logits{};
  // Each step at once, and at the end what was held back. An error ends generate() with it.
  std::function<Status(const GenerationStep&)> on_step{};
};

// What a sequence's policy has done by now.
PolicyFigures policy_figures(const Sequence& sequence);

// `tokens` is the whole text so far; the first sequence.size() of them are in the sequence already. The sampler counts
// the answer's tokens; the caller has shown it the prompt's, if they matter. The last token of the answer is not
// computed. A cancelled answer is no error: what was drawn by then counts.
// Errors: those of Engine::prefill, Engine::decode, Sampler::sample and on_step.
Result<Generated> generate(Engine& engine, Sequence& sequence, std::span<const TokenId> tokens, Sampler& sampler,
                           const GenerationOptions& options, const GenerationHooks& hooks = {});

// The same on a sequence of its own, which reuses the longest cached prefix of the prompt. Blocks that a store has are
// taken as they come. The sampler counts the prompt too. Errors: those above, and of Sampler::make.
Result<Generated> generate(Engine& engine, std::span<const TokenId> prompt, const SamplerOptions& sampler,
                           const GenerationOptions& options, const GenerationHooks& hooks = {});

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// A tokenised text under recipes: how it is cut into windows whose later tokens are predicted, the run over them beside
// the exact cache where one is given, and its scores in a few figures.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/block/block_key.h"
#include "cairn/eval/judged_engine.h"
#include "cairn/eval/reference_logits.h"
#include "cairn/eval/statistics.h"

namespace cairn {

// Tokens of a window: [0, skip] are context only, each of (skip, context) is predicted from those before it. With a
// stride of `context` and a skip of half of it these are the windows of llama.cpp's perplexity tool.
struct WindowSlices {
  std::uint32_t context = 512;
  std::uint32_t stride = 0;             // from the begin of one window to that of the next; 0: context
  std::optional<std::uint32_t> skip{};  // default: context / 2
  std::size_t max_windows = static_cast<std::size_t>(-1);
};

// Views and copies of one text; immutable.
class Windows {
 public:
  // Errors: kInvalidArgument (context below 2, skip that leaves nothing to predict, text shorter than one window).
  static Result<Windows> make(std::vector<TokenId> text, std::optional<TokenId> begin_token, const WindowSlices& plan);

  std::size_t size() const { return count_; }
  std::uint32_t context() const { return context_; }
  std::uint32_t first_logits() const { return skip_; }                // the first token whose logits are judged
  std::uint32_t predictions() const { return context_ - 1 - skip_; }  // judged tokens of a window

  // [context]; the first token is the begin token where there is one.
  std::vector<TokenId> tokens(std::size_t window) const;

 private:
  Windows() = default;

  std::vector<TokenId> text_;
  std::optional<TokenId> begin_token_;
  std::uint32_t context_ = 0, stride_ = 0, skip_ = 0;
  std::size_t count_ = 0;
};

using WindowScores = std::vector<TokenScore>;  // [Windows::predictions()]

struct JudgedText {
  CacheCost cost;  // at the end of a window
  std::vector<WindowScores> windows;
};

// Where the exact distributions come from: an engine, or a file of an earlier run; neither for perplexity alone. With
// an engine the rows may be saved.
struct ExactSource {
  JudgedEngine* engine = nullptr;
  ReferenceReader* file = nullptr;
  ReferenceWriter* save = nullptr;
};

struct TextRun {
  std::vector<WindowScores> exact;  // only nll; empty without an exact source
  std::vector<JudgedText> recipes;  // in the order of the engines
  bool stopped = false;             // cancelled: these are the windows before
};

struct TextRunControl {
  std::function<void(std::size_t done, std::size_t total)> on_progress{};  // windows
  const std::atomic<bool>* cancel = nullptr;                               // checked between blocks
};

// What the exact logits of these windows depend on, for ReferenceReader and ReferenceWriter.
Digest windows_digest(const Engine& exact, const Windows& windows);

// Windows are computed block by block, all engines in step. All engines are of one family (Engine::sibling). Errors:
// those of Engine::forward and ReferenceReader::next; kCancelled before the first window was done.
Result<TextRun> run_text(const ExactSource& exact, std::span<const std::unique_ptr<JudgedEngine>> judged,
                         const Windows& windows, const TextRunControl& control = {});

struct TextSummary {
  std::size_t windows = 0, tokens = 0;
  Estimate perplexity;
  // Against the exact cache; zeros (and ratio 1) without one.
  Estimate kl_mean, kl_median, kl_p95, kl_p99, kl_max;  // nats
  Estimate same_top1;                                   // share of tokens
  Estimate exact_perplexity, perplexity_ratio;
};

// `exact` may be empty. Requires: at least one window.
TextSummary summarise(std::span<const WindowScores> judged, std::span<const WindowScores> exact, std::uint64_t seed);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Runs recipes over the windows of a text, beside the exact cache where one is given, and scores every predicted token.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/eval/judged_engine.h"
#include "cairn/eval/reference_logits.h"
#include "cairn/eval/token_scores.h"
#include "cairn/eval/windows.h"

namespace cairn {

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

}  // namespace cairn

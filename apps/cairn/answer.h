// SPDX-License-Identifier: Apache-2.0
// An answer at the terminal: progress while the prompt is read, text as it comes, Ctrl-C, and a line of figures.
#pragma once

#include <string>

#include "apps/cairn/progress.h"
#include "cairn/base/result.h"
#include "cairn/engine/generate.h"

namespace cairn {

// Thread-compatible.
class AnswerView {
 public:
  // `show`: print the text at all.
  explicit AnswerView(bool show) : show_(show) {}

  // They refer to this view. on_step fails with kIo when standard output is closed; Ctrl-C cancels.
  GenerationHooks hooks();
  Status finish();  // prints a line break

 private:
  Status print(const std::string& text) const;

  Progress progress_{"Reading the prompt"};
  bool show_;
};

// "prompt 120 tokens, reused 64, first token 0.05 s, 12 tokens at 30.1 per second, KV 1.2 MiB"
std::string answer_figures(const Generated& answer);

}  // namespace cairn

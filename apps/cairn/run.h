// SPDX-License-Identifier: Apache-2.0
// The parts of `cairn run`: its options, an answer at the terminal, and the chat that keeps its history.
#pragma once

#include <cstdint>
#include <string>

#include "apps/cairn/model_options.h"
#include "apps/cairn/terminal.h"
#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/engine/generate.h"
#include "cairn/text/chat.h"
#include "cairn/text/sampler.h"

namespace cairn::cli {

// What `cairn run` was asked to do.
struct RunOptions {
  ModelOptions model;
  std::string prompt;
  std::string file;
  bool has_prompt = false;
  bool has_file = false;
  GenerationOptions generation;
  SamplerOptions sampler;
  std::string chat_template;  // empty: from the file
  std::string system;
  bool raw = false;
  bool stats = false;
  bool json = false;

  bool interactive() const { return !has_prompt && !has_file; }
};

// Progress while the prompt is read, text as it comes, Ctrl-C. Thread-compatible.
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

// A chat that keeps its history and the keys and values of it.
// Reads turns from standard input until its end, /exit, or Ctrl-C at the prompt. Ctrl-C during an answer ends the
// answer. Errors: those of reading the template and of generating; a turn that does not fit is reported and taken back.
Status chat_loop(Engine& engine, const RunOptions& options, ChatFamily family, Sampler& sampler);

}  // namespace cairn::cli

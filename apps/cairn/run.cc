// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/run.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <optional>
#include <string>
#include <utility>

#include "apps/cairn/input.h"
#include "apps/cairn/terminal.h"

namespace cairn::cli {
namespace {

class Chat {
 public:
  Chat(Engine& engine, const RunOptions& options, ChatFamily family, Sampler& sampler)
      : engine_(engine),
        options_(options),
        sampler_(sampler),
        conversation_(engine.tokenizer(), family, options.system) {}

  void clear() {
    conversation_.clear();
    accepted_ = 0;
    sequence_.reset();
  }

  Status turn(std::string text) {
    conversation_.ask(std::move(text));
    if (!sequence_) sequence_ = engine_.open_while_loading(conversation_.tokens());
    for (; accepted_ < conversation_.tokens().size(); ++accepted_) sampler_.accept(conversation_.tokens()[accepted_]);
    AnswerView view(true);
    CAIRN_TRY(const Generated answer,
              generate(engine_, *sequence_, conversation_.tokens(), sampler_, options_.generation, view.hooks()));
    CAIRN_TRY_VOID(view.finish());
    if (options_.stats) std::cerr << '[' << answer_figures(answer) << "]\n";
    conversation_.answer(answer.text, answer.ids);
    accepted_ = conversation_.tokens().size();
    return {};
  }

  // After a turn that failed: what it left in the sequence is dropped, its blocks may still be found again.
  void take_back() {
    conversation_.retract();
    accepted_ = std::min(accepted_, conversation_.tokens().size());
    sequence_.reset();
  }

 private:
  Engine& engine_;
  const RunOptions& options_;
  Sampler& sampler_;
  Conversation conversation_;
  std::optional<Sequence> sequence_;
  std::size_t accepted_ = 0;  // tokens that the sampler has counted
};

}  // namespace

GenerationHooks AnswerView::hooks() {
  return {.prefill = {.on_progress = progress_.counter(), .cancel = &interrupt_flag()},
          .on_logits = [this](std::span<const float>) { progress_.finish(); },
          .on_step = [this](const GenerationStep& step) { return print(step.text); }};
}

Status AnswerView::finish() {
  progress_.finish();
  return print("\n");
}

Status AnswerView::print(const std::string& text) const {
  if (show_ && !(std::cout << text << std::flush)) {
    return fail(ErrorCode::kIo, "cannot write to standard output");
  }
  return {};
}

std::string answer_figures(const Generated& answer) {
  return "prompt " + std::to_string(answer.prompt_tokens) + " tokens, reused " + std::to_string(answer.reused_tokens) +
         ", first token " + format_number(answer.first_token_s, 3) + " s, " + std::to_string(answer.ids.size()) +
         " tokens at " + format_number(answer.decode_rate(), 1) + " per second, KV " +
         format_bytes(static_cast<double>(answer.kv_bytes));
}

Status chat_loop(Engine& engine, const RunOptions& options, ChatFamily family, Sampler& sampler) {
  const bool terminal = isatty(STDIN_FILENO) == 1;
  if (terminal) {
    std::cerr << "Chat with " << options.model.model << " (template: " << chat_family_name(family)
              << "). /clear forgets, /exit or Ctrl-D leaves, Ctrl-C stops an answer.\n";
  }
  InterruptScope scope;
  LineReader input;
  Chat chat(engine, options, family, sampler);
  while (true) {
    clear_interrupt();
    if (terminal) std::cerr << "> " << std::flush;
    std::optional<std::string> line = input.next();
    if (!line || *line == "/exit") break;
    if (*line == "/clear") {
      chat.clear();
      continue;
    }
    if (line->empty()) continue;
    const Status status = chat.turn(std::move(*line));
    if (status) continue;
    const ErrorCode code = status.error().code;
    if (!terminal || (code != ErrorCode::kTooLong && code != ErrorCode::kOutOfBudget)) return status;
    std::cerr << "cairn: " << status.error().message << " (/clear forgets the conversation)\n";
    chat.take_back();
  }
  if (terminal) std::cerr << '\n';
  return {};
}

}  // namespace cairn::cli

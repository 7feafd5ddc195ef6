// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/answer.h"

#include <iostream>

#include "apps/cairn/interrupt.h"
#include "apps/cairn/text.h"

namespace cairn {

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

}  // namespace cairn

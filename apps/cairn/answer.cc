// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/answer.h"

#include <iostream>

#include "apps/cairn/text.h"

namespace cairn {

AnswerPrinter::AnswerPrinter(const Tokenizer& tokenizer, bool continues_text, bool show)
    : stream_(tokenizer, {.continues_text = continues_text}), show_(show) {}

Status AnswerPrinter::print(TokenId id) {
  return write(stream_.feed(id));
}

Status AnswerPrinter::finish() {
  CAIRN_TRY_VOID(write(stream_.finish()));
  return show("\n");
}

Status AnswerPrinter::write(const std::string& part) {
  text_ += part;
  return show(part);
}

Status AnswerPrinter::show(const std::string& part) const {
  if (show_ && !(std::cout << part << std::flush)) {
    return fail(ErrorCode::kIo, "cannot write to standard output");
  }
  return {};
}

std::string answer_figures(const Answered& answer, std::size_t kv_bytes) {
  return "prompt " + std::to_string(answer.prompt_tokens) + " tokens, reused " + std::to_string(answer.reused_tokens) +
         ", first token " + format_number(answer.first_token_s, 3) + " s, " + std::to_string(answer.ids.size()) +
         " tokens at " + format_number(answer.decode_rate(), 1) + " per second, KV " +
         format_bytes(static_cast<double>(kv_bytes));
}

}  // namespace cairn

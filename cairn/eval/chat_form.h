// SPDX-License-Identifier: Apache-2.0
// The chat form of the suite, for models that answer turns instead of continuing a text (docs/evaluation.md, "Forms"):
// the context is a user's turn, and so is every question.
#pragma once

#include <ctime>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/chat.h"
#include "cairn/eval/session.h"
#include "cairn/text/chat_template.h"
#include "cairn/text/tokenizer.h"

namespace cairn {

// What the assistant says to the context.
inline constexpr std::string_view kContextRead = "I have read the text. What is your question?";

// Writes turns as the model's chat template does. Immutable and thread-safe.
class ChatForm {
 public:
  explicit ChatForm(ChatTemplate chat_template) : template_(std::move(chat_template)), now_(local_time()) {}

  // The whole conversation so far; `opens_answer` begins the assistant's turn. Errors: those of ChatTemplate::encode.
  Result<std::vector<TokenId>> tokens(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                      bool opens_answer) const;

 private:
  ChatTemplate template_;
  std::tm now_;
};

// The session with its questions as a user asks them, and metrics that let a sentence stand around the answer:
// kExact, kContains and kFirstNumber become kWholeWord, so does kNearestBody, and kCharF1 becomes kContains. kChoice,
// kRecall and kFactF1 stay. Requires: `chat` is not null.
EvalSession in_chat_form(EvalSession session, std::shared_ptr<const ChatForm> chat);

}  // namespace cairn

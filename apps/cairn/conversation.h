// SPDX-License-Identifier: Apache-2.0
// The tokens of a chat: markup and the user's words as the template renders them, answers as the model drew them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cairn/text/chat_template.h"
#include "cairn/text/tokenizer.h"

namespace cairn {

// An answer keeps the ids that were drawn, which encoding its text again need not give; so the keys and values that
// the model computed for it stay valid in the next turn. Refers to the tokenizer. Thread-compatible.
class Conversation {
 public:
  Conversation(const Tokenizer& tokenizer, ChatFamily family, std::string system);

  // Adds the user's turn and opens the assistant's.
  void ask(std::string text);
  // Closes the assistant's turn.
  void answer(std::string text, std::span<const TokenId> ids);
  // Takes back the last ask().
  void retract();
  void clear();

  const std::vector<TokenId>& tokens() const { return tokens_; }

 private:
  const Tokenizer& tokenizer_;
  ChatFamily family_;
  std::string system_;
  std::vector<ChatMessage> messages_;
  std::vector<TokenId> tokens_;
  std::size_t before_ask_ = 0;  // tokens before the last ask()
};

}  // namespace cairn

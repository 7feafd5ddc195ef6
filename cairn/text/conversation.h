// SPDX-License-Identifier: Apache-2.0
// The tokens of a conversation that goes on.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/text/chat_template.h"

namespace cairn {

// The tokens of a chat: markup and the user's words as the template writes them, answers as the model drew them.
// An answer keeps the ids that were drawn, which encoding its text again need not give; so the keys and values that
// the model computed for it stay valid in the next turn. Where a template writes an earlier turn otherwise once the
// chat goes on (one that leaves out what was thought, say), the tokens are new from the turn where that begins.
// Refers to the tokenizer. Thread-compatible.
class Conversation {
 public:
  // `options` hold for all turns. An empty `system` is no turn.
  Conversation(const Tokenizer& tokenizer, ChatTemplate chat, std::string system, ChatRenderOptions options = {});

  // Adds the user's turn and opens the assistant's. Errors: those of ChatTemplate::render; nothing has changed then.
  Status ask(std::string text);
  // Closes the assistant's turn.
  void answer(std::string text, std::span<const TokenId> ids);
  // Takes back the last ask(). Requires: it succeeded, and no other call came after it.
  void retract();
  void clear();

  const std::vector<TokenId>& tokens() const { return now_.tokens; }
  // How many of the tokens before the last ask() still stand at the front.
  std::size_t kept() const { return kept_; }

 private:
  // A place in the text where a token begins that the text alone would not give back: behind what the model drew, and
  // behind what it was asked.
  struct Boundary {
    std::size_t bytes = 0, tokens = 0;
  };
  struct State {
    std::vector<ChatMessage> messages{};
    std::vector<TokenId> tokens{};
    RenderedChat rendered{};  // what the tokens stand for; a family's stays empty
    std::vector<Boundary> boundaries{};
  };

  void ask_family();
  Status ask_template();

  const Tokenizer& tokenizer_;
  ChatTemplate chat_;
  std::string system_;
  ChatRenderOptions options_;
  State now_;
  State before_ask_;
  std::size_t kept_ = 0;
};

}  // namespace cairn

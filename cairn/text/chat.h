// SPDX-License-Identifier: Apache-2.0
// Chats: the text that a chat model was trained on, with the users' words kept apart from the markup, and the tokens of
// a conversation that goes on.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/chat.h"
#include "cairn/text/tokenizer.h"

namespace cairn {

enum class ChatFamily : std::uint8_t { kChatML, kLlama3, kMistral, kZephyr, kPlain };

std::string_view chat_family_name(ChatFamily family);  // as --chat-template takes it
// Errors: kInvalidArgument, listing the names.
Result<ChatFamily> parse_chat_family(std::string_view name);
// From tokenizer.chat_template by the marks that each family writes; no template at all is kPlain.
// Errors: kUnsupported, quoting the template's beginning and naming the flag that selects a family.
Result<ChatFamily> detect_chat_family(std::optional<std::string_view> chat_template);

// "system" (also "developer"), "user", "assistant". Errors: kInvalidArgument.
Result<ChatRole> parse_chat_role(std::string_view name);

enum class ChatSegmentKind : std::uint8_t {
  kMarkup,   // written by the template: its special tokens count
  kContent,  // from users: nothing in it is a special token
  kEnd,      // the end-of-sequence token; `text` is empty
};

struct ChatSegment {
  ChatSegmentKind kind = ChatSegmentKind::kMarkup;
  std::string text;
  bool spaced = false;  // one space lies between this and plain text before it

  bool operator==(const ChatSegment&) const = default;
};

// The rendering of n messages is a prefix of the rendering of n + 1, also with the generation prompt where the next
// message is the assistant's. `add_generation_prompt` opens the assistant's turn. No messages: that opening alone.
std::vector<ChatSegment> render_chat(ChatFamily family, std::span<const ChatMessage> messages,
                                     bool add_generation_prompt);

// Each segment becomes tokens of its own, so a prefix of the segments gives a prefix of the ids, and no content can
// become, or join with, a mark of the template. Begins with the begin token if the model wants one. Markup that a
// vocabulary has no special token for is plain text to it.
std::vector<TokenId> encode_chat(const Tokenizer& tokenizer, std::span<const ChatSegment> segments);

// The tokens of a chat: markup and the user's words as the template renders them, answers as the model drew them.
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

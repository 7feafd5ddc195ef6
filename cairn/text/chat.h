// SPDX-License-Identifier: Apache-2.0
// The built-in families of chats: the text that such a model was trained on, with the users' words kept apart from the
// markup. Most models bring a template of their own, see chat_template.h.
#pragma once

#include <cstdint>
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
std::string_view chat_family_names();                  // all of them, for messages
// Errors: kInvalidArgument, listing the names.
Result<ChatFamily> parse_chat_family(std::string_view name);
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

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// How a model writes a chat: by the Jinja template of its file, by one that the user gives, or by a built-in family.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/text/chat.h"
#include "cairn/text/jinja/template.h"
#include "cairn/text/text_range.h"
#include "cairn/text/tokenizer.h"

namespace cairn {

class GgufFile;

// A chat as text, with the bytes that the template wrote. Control tokens are read there and nowhere else.
struct RenderedChat {
  std::string text;
  std::vector<TextRange> trusted;  // sorted, neither empty nor touching each other
};

struct ChatRenderOptions {
  bool add_generation_prompt = true;  // opens the assistant's turn
  jinja::Dict kwargs{};               // further names for a Jinja template; families do not look at them
  std::tm now{};                      // what strftime_now() tells a Jinja template
};

// For ChatRenderOptions::now. Keep it for a whole conversation, or its beginning changes at midnight.
std::tm local_time();

// A JSON object, as chat_template_kwargs has it. Errors: kInvalidArgument for everything else, and for names that the
// chat itself sets (messages, add_generation_prompt, bos_token, eos_token).
Result<jinja::Dict> parse_chat_kwargs(std::string_view json);

// Immutable and thread-safe; copies share the template.
class ChatTemplate {
 public:
  ChatTemplate(ChatFamily family) : family_(family) {}  // NOLINT: a family is a template
  // Errors: kInvalidArgument, "line N: ...", for what is no template that docs/chat-templates.md describes.
  static Result<ChatTemplate> jinja(std::string_view source);
  // A family by its name, or a file with a Jinja template. Errors: kInvalidArgument, naming the families; kIo.
  static Result<ChatTemplate> named(const std::string& name_or_path);
  // The one in the file; a file without one writes the words and nothing around them (ChatFamily::kPlain).
  // Errors: kUnsupported, naming the line and the flag that overrides it; kCorrupt.
  static Result<ChatTemplate> of_model(const GgufFile& file);

  // "jinja", or the family's name.
  std::string_view name() const { return jinja_ != nullptr ? "jinja" : chat_family_name(family_); }
  bool is_jinja() const { return jinja_ != nullptr; }
  // Requires: not is_jinja().
  ChatFamily family() const { return family_; }
  bool is_plain() const { return !is_jinja() && family_ == ChatFamily::kPlain; }

  // Errors: kInvalidArgument when the template refuses the messages (raise_exception); kUnsupported when it fails, as
  // at a filter that is not there or at a limit. Families refuse nothing.
  Result<RenderedChat> render(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                              const ChatRenderOptions& options) const;
  // The tokens of it, with a begin token if the model wants one: one, also where the template writes it too.
  Result<std::vector<TokenId>> encode(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                      const ChatRenderOptions& options) const;

 private:
  ChatFamily family_ = ChatFamily::kPlain;
  std::shared_ptr<const jinja::Template> jinja_;  // null: the family
};

// The tokens of `chat` from byte `begin` on. Whether they come after other ones, and of what kind the last of these is,
// says `previous`; without it they begin the prompt, and get a begin token. Requires: begin <= chat.text.size().
std::vector<TokenId> encode_rendered(const Tokenizer& tokenizer, const RenderedChat& chat, std::size_t begin = 0,
                                     std::optional<TokenId> previous = std::nullopt);

// Both the template and the tokenizer want to write the begin token; encode_rendered() keeps one.
bool doubles_bos(const Tokenizer& tokenizer, const RenderedChat& chat);
inline constexpr std::string_view kDoubledBos =
    "the chat template writes the begin token and the tokenizer would add one: one is kept";

}  // namespace cairn

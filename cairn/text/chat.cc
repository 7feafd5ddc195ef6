// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/chat.h"

#include <algorithm>
#include <array>
#include <utility>

#include "cairn/base/utf8.h"

namespace cairn {
namespace {

struct FamilyName {
  ChatFamily family;
  std::string_view name;
};

constexpr std::array<FamilyName, 5> kFamilies = {{{ChatFamily::kChatML, "chatml"},
                                                  {ChatFamily::kLlama3, "llama3"},
                                                  {ChatFamily::kMistral, "mistral"},
                                                  {ChatFamily::kZephyr, "zephyr"},
                                                  {ChatFamily::kPlain, "plain"}}};

constexpr std::string_view kFamilyList = "chatml|llama3|mistral|zephyr|plain";

std::string_view role_name(ChatRole role) {
  switch (role) {
    case ChatRole::kSystem: return "system";
    case ChatRole::kUser: return "user";
    case ChatRole::kAssistant: return "assistant";
  }
  return "user";
}

// Writes messages one after the other; what a message becomes depends on what came before it, never on what follows.
class Renderer {
 public:
  explicit Renderer(ChatFamily family) : family_(family) {}

  void add(const ChatMessage& message) {
    switch (family_) {
      case ChatFamily::kChatML: return turn(message, "<|im_start|>", "\n", "<|im_end|>\n");
      case ChatFamily::kLlama3: return turn(message, "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>");
      case ChatFamily::kZephyr:
        open(message.role, "<|", "|>\n");
        content(message.content);
        segments_.push_back({ChatSegmentKind::kEnd, ""});
        return markup("\n");
      case ChatFamily::kMistral: return mistral(message);
      case ChatFamily::kPlain:
        if (!segments_.empty() && message.role != ChatRole::kAssistant) markup("\n");
        return content(message.content);
    }
  }

  void open_answer() {
    switch (family_) {
      case ChatFamily::kChatML: return open(ChatRole::kAssistant, "<|im_start|>", "\n");
      case ChatFamily::kLlama3: return open(ChatRole::kAssistant, "<|start_header_id|>", "<|end_header_id|>\n\n");
      case ChatFamily::kZephyr: return open(ChatRole::kAssistant, "<|", "|>\n");
      case ChatFamily::kMistral: return close_instruction();
      case ChatFamily::kPlain: return;
    }
  }

  std::vector<ChatSegment> take() { return std::move(segments_); }

 private:
  void markup(std::string text, bool spaced = false) {
    segments_.push_back({ChatSegmentKind::kMarkup, std::move(text), spaced});
  }
  // An empty segment stands too: the space that belongs to it must not depend on the words.
  void content(std::string text, bool spaced = false) {
    segments_.push_back({ChatSegmentKind::kContent, std::move(text), spaced});
  }
  void open(ChatRole role, std::string_view before, std::string_view after) {
    markup(std::string(before).append(role_name(role)).append(after));
  }
  void turn(const ChatMessage& message, std::string_view before, std::string_view after, std::string_view end) {
    open(message.role, before, after);
    content(message.content);
    markup(std::string(end));
  }

  // Mistral has no system turn: such words open the instruction that the next user message completes.
  void mistral(const ChatMessage& message) {
    if (message.role == ChatRole::kAssistant) {
      close_instruction();
      content(message.content, /*spaced=*/true);
      segments_.push_back({ChatSegmentKind::kEnd, ""});
      return;
    }
    const bool opens = !in_instruction_;
    if (opens) markup("[INST]");
    content(message.content, /*spaced=*/opens);
    in_instruction_ = true;
    if (message.role == ChatRole::kSystem) return markup("\n\n");
    close_instruction();
  }
  void close_instruction() {
    if (in_instruction_) markup("[/INST]", /*spaced=*/true);
    in_instruction_ = false;
  }

  ChatFamily family_;
  bool in_instruction_ = false;
  std::vector<ChatSegment> segments_;
};

}  // namespace

std::string_view chat_family_name(ChatFamily family) {
  return std::ranges::find(kFamilies, family, &FamilyName::family)->name;
}

std::string_view chat_family_names() {
  return kFamilyList;
}

Result<ChatFamily> parse_chat_family(std::string_view name) {
  const auto found = std::ranges::find(kFamilies, name, &FamilyName::name);
  if (found != kFamilies.end()) return found->family;
  return fail(ErrorCode::kInvalidArgument,
              "unknown chat template \"" + printable_start(name, 40) + "\": choose " + std::string(kFamilyList));
}

Result<ChatRole> parse_chat_role(std::string_view name) {
  if (name == "system" || name == "developer") return ChatRole::kSystem;
  if (name == "user") return ChatRole::kUser;
  if (name == "assistant") return ChatRole::kAssistant;
  return fail(ErrorCode::kInvalidArgument,
              "unknown role \"" + printable_start(name, 40) + "\": use system, user or assistant");
}

std::vector<ChatSegment> render_chat(ChatFamily family, std::span<const ChatMessage> messages,
                                     bool add_generation_prompt) {
  Renderer renderer(family);
  for (const ChatMessage& message : messages) renderer.add(message);
  if (add_generation_prompt) renderer.open_answer();
  return renderer.take();
}

std::vector<TokenId> encode_chat(const Tokenizer& tokenizer, std::span<const ChatSegment> segments) {
  std::vector<TokenId> ids;
  if (tokenizer.adds_bos()) ids.push_back(*tokenizer.bos());
  for (const ChatSegment& segment : segments) {
    if (segment.kind == ChatSegmentKind::kEnd) {
      if (tokenizer.eos()) ids.push_back(*tokenizer.eos());
      continue;
    }
    const bool after_special = ids.empty() || tokenizer.is_special(ids.back());
    // The tokenizer may put that space itself, and marks that are tokens stand without one.
    const bool has_space = (after_special && tokenizer.adds_space_prefix()) || tokenizer.special_token(segment.text);
    const EncodeOptions options{
        .add_bos = false, .parse_special = segment.kind == ChatSegmentKind::kMarkup, .continues_text = !after_special};
    const auto part = tokenizer.encode(segment.spaced && !has_space ? " " + segment.text : segment.text, options);
    ids.insert(ids.end(), part.begin(), part.end());
  }
  return ids;
}

}  // namespace cairn

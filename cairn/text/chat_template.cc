// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/chat_template.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "cairn/base/file.h"
#include "cairn/base/utf8.h"
#include "cairn/gguf/gguf.h"
#include "cairn/text/jinja/json.h"
#include "cairn/text/jinja/text_functions.h"

namespace cairn {
namespace {

constexpr std::size_t kLongestComplaint = 500;  // characters of what a template says when it refuses

std::string_view role_word(ChatRole role) {
  return role == ChatRole::kSystem ? "system" : role == ChatRole::kUser ? "user" : "assistant";
}

std::optional<std::string_view> special_text(const Tokenizer& tokenizer, std::optional<TokenId> id) {
  return id ? std::optional(tokenizer.token_text(*id)) : std::nullopt;
}

// Roles come from a fixed list, so they may be part of a mark, as in <|user|>. What people wrote may not.
Result<jinja::Dict> message_value(const ChatMessage& message) {
  jinja::Dict value;
  CAIRN_TRY_VOID(value.set(jinja::Value::trusted("role"), jinja::Value::trusted(std::string(role_word(message.role)))));
  CAIRN_TRY_VOID(value.set(jinja::Value::trusted("content"), jinja::Value::plain(message.content)));
  return value;
}

Result<jinja::Dict> template_names(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                   const ChatRenderOptions& options) {
  jinja::Values list;
  for (const ChatMessage& message : messages) {
    CAIRN_TRY(jinja::Dict value, message_value(message));
    list.emplace_back(std::move(value));
  }
  CAIRN_TRY(jinja::Value all, jinja::make_list(std::move(list)));
  jinja::Dict names;
  const auto set = [&](const char* name, jinja::Value value) {
    return names.set(jinja::Value::trusted(name), std::move(value));
  };
  CAIRN_TRY_VOID(set("tools", jinja::Value()));
  CAIRN_TRY_VOID(set("documents", jinja::Value()));
  for (const jinja::Dict::Item& item : options.kwargs.items()) CAIRN_TRY_VOID(names.set(item.key, item.value));
  CAIRN_TRY_VOID(set("messages", std::move(all)));
  CAIRN_TRY_VOID(set("add_generation_prompt", jinja::Value(options.add_generation_prompt)));
  for (const auto& [name, id] : {std::pair("bos_token", tokenizer.bos()), std::pair("eos_token", tokenizer.eos())}) {
    if (const auto text = special_text(tokenizer, id)) {
      CAIRN_TRY_VOID(set(name, jinja::Value::trusted(std::string(*text))));
    }
  }
  return names;
}

// The segments of a family, as one text.
RenderedChat joined_segments(const Tokenizer& tokenizer, std::span<const ChatSegment> segments) {
  jinja::Text text;
  for (const ChatSegment& segment : segments) {
    if (segment.spaced) text.append(" ", true);
    if (segment.kind == ChatSegmentKind::kEnd) {
      text.append(special_text(tokenizer, tokenizer.eos()).value_or(""), true);
    } else {
      text.append(segment.text, segment.kind == ChatSegmentKind::kMarkup);
    }
  }
  return {text.bytes(), text.trusted_ranges()};
}

}  // namespace

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

Result<jinja::Dict> parse_chat_kwargs(std::string_view json) {
  if (!jinja::is_utf8(json)) return fail(ErrorCode::kInvalidArgument, "is not UTF-8");
  CAIRN_TRY(const jinja::Value value, jinja::read_json(json));
  if (value.dict() == nullptr) return fail(ErrorCode::kInvalidArgument, "must be a JSON object");
  constexpr std::array<std::string_view, 4> kTaken = {"messages", "add_generation_prompt", "bos_token", "eos_token"};
  for (const std::string_view name : kTaken) {
    if (value.dict()->find_name(name) != nullptr) {
      return fail(ErrorCode::kInvalidArgument, "must not have '" + std::string(name) + "': the chat sets it");
    }
  }
  return *value.dict();
}

Result<ChatTemplate> ChatTemplate::jinja(std::string_view source) {
  CAIRN_TRY(cairn::jinja::Template parsed, cairn::jinja::Template::parse(source));
  ChatTemplate made(ChatFamily::kPlain);
  made.jinja_ = std::make_shared<const cairn::jinja::Template>(std::move(parsed));
  return made;
}

Result<ChatTemplate> ChatTemplate::named(const std::string& name_or_path) {
  const Result<ChatFamily> family = parse_chat_family(name_or_path);
  if (family) return ChatTemplate(*family);
  std::error_code missing;
  if (!std::filesystem::exists(name_or_path, missing)) {
    return fail(ErrorCode::kInvalidArgument, family.error().message + " or a file with a Jinja template");
  }
  CAIRN_TRY(const std::vector<std::byte> bytes, read_file(name_or_path, cairn::jinja::Limits{}.max_template_bytes));
  // No bytes are no template, though they parse as one: the model would be asked nothing.
  if (bytes.empty()) return fail(ErrorCode::kInvalidArgument, "'" + name_or_path + "' is empty: give a template");
  Result<ChatTemplate> parsed = jinja({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!parsed) return fail(ErrorCode::kInvalidArgument, name_or_path + ": " + parsed.error().message);
  return parsed;
}

Result<ChatTemplate> ChatTemplate::of_model(const GgufFile& file) {
  CAIRN_TRY(const auto source, file.get_or<std::string>("tokenizer.chat_template", ""));
  if (source.empty()) return ChatTemplate(ChatFamily::kPlain);
  Result<ChatTemplate> parsed = jinja(source);
  if (parsed) return parsed;
  return fail(ErrorCode::kUnsupported, "the model's chat template cannot be used, " + parsed.error().message +
                                           ": give another one with --chat-template, a file or " +
                                           std::string(chat_family_names()));
}

Result<RenderedChat> ChatTemplate::render(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                          const ChatRenderOptions& options) const {
  if (!is_jinja()) {
    return joined_segments(tokenizer, render_chat(family_, messages, options.add_generation_prompt));
  }
  CAIRN_TRY(const cairn::jinja::Dict names, template_names(tokenizer, messages, options));
  const Result<cairn::jinja::Text> text = jinja_->render(names, {.now = options.now});
  if (text) return RenderedChat{text->bytes(), text->trusted_ranges()};
  const bool refuses = text.error().code == ErrorCode::kInvalidArgument;
  return fail(text.error().code, (refuses ? "the chat template refuses the messages: " : "the chat template fails: ") +
                                     printable_start(text.error().message, kLongestComplaint));
}

Result<std::vector<TokenId>> ChatTemplate::encode(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                                  const ChatRenderOptions& options) const {
  if (!is_jinja()) {
    return encode_chat(tokenizer, render_chat(family_, messages, options.add_generation_prompt));
  }
  CAIRN_TRY(const RenderedChat chat, render(tokenizer, messages, options));
  return encode_rendered(tokenizer, chat);
}

std::vector<TokenId> encode_rendered(const Tokenizer& tokenizer, const RenderedChat& chat, std::size_t begin,
                                     std::optional<TokenId> previous) {
  std::vector<TextRange> marks;
  for (const TextRange& range : chat.trusted) {
    if (range.end > begin) marks.push_back({std::max(range.begin, begin) - begin, range.end - begin});
  }
  std::vector<TokenId> ids;
  if (!previous && tokenizer.adds_bos() && !doubles_bos(tokenizer, chat)) ids.push_back(*tokenizer.bos());
  const EncodeOptions options{.add_bos = false,
                              .parse_special = true,
                              .continues_text = previous && !tokenizer.is_special(*previous),
                              .special_within = std::span<const TextRange>(marks)};
  const std::vector<TokenId> rest = tokenizer.encode(std::string_view(chat.text).substr(begin), options);
  ids.insert(ids.end(), rest.begin(), rest.end());
  return ids;
}

bool doubles_bos(const Tokenizer& tokenizer, const RenderedChat& chat) {
  if (!tokenizer.adds_bos() || chat.trusted.empty() || chat.trusted.front().begin != 0) return false;
  const std::string_view bos = tokenizer.token_text(*tokenizer.bos());
  return !bos.empty() && chat.text.starts_with(bos) && chat.trusted.front().end >= bos.size();
}

}  // namespace cairn

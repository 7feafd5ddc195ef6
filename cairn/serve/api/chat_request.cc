// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/api_request.h"

namespace cairn {
namespace {

constexpr std::size_t kMaxMessages = 4096;

// A string, or a list of {"type": "text", "text": ...} whose texts follow on each other.
ApiResult<std::string> read_content(const Json& content, const std::string& path) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) return bad_field(path, "must be a string or a list of text parts");
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const std::string where = path + "[" + std::to_string(i) + "]";
    if (!content[i].is_object()) return bad_field(where, "must be an object");
    const Fields part(content[i], where + ".");
    CAIRN_TRY(const std::string type, part.needed_text("type"));
    if (type != "text") {
      return refuse(
          {.message = "'" + part.path("type") + "' is '" + printable_start(type, 40) + "': this model takes text alone",
           .param = part.path("type"),
           .code = "unsupported_parameter"});
    }
    CAIRN_TRY(const std::string words, part.needed_text("text"));
    text += words;
  }
  return text;
}

ApiResult<ChatMessage> read_message(const Json& value, const std::string& where) {
  if (!value.is_object()) return bad_field(where, "must be an object");
  const Fields fields(value, where + ".");
  CAIRN_TRY(const std::string role, fields.needed_text("role"));
  const auto known = parse_chat_role(role);
  if (!known) return bad_field(fields.path("role"), "must be system, developer, user or assistant");
  for (const char* name : {"tool_calls", "function_call", "audio"}) {
    const Json* extra = fields.find(name);
    if (extra != nullptr && !extra->empty()) return bad_field(fields.path(name), "is not supported here");
  }
  const Json* content = fields.find("content");
  if (content == nullptr) return bad_field(fields.path("content"), "is missing");
  CAIRN_TRY(std::string text, read_content(*content, fields.path("content")));
  return ChatMessage{*known, std::move(text)};
}

}  // namespace

ApiResult<ApiRequest> parse_chat_request(std::string_view body, const ApiModel& model, bool answered) {
  CAIRN_TRY(const Json json, parse_object(body));
  const Fields fields(json);
  ApiRequest request{.chat = true};
  CAIRN_TRY_VOID(read_common_fields(fields, model, request));
  request.each.chat = true;
  CAIRN_TRY(const auto logprobs, fields.flag("logprobs"));
  CAIRN_TRY(const auto top, fields.integer("top_logprobs", 0, kMaxTopLogprobs));
  if (top.value_or(0) > 0 && !logprobs.value_or(false)) return bad_field("top_logprobs", "needs 'logprobs': true");
  if (logprobs.value_or(false)) request.each.logprobs = static_cast<std::uint32_t>(top.value_or(0));

  const Json* messages = fields.find("messages");
  if (messages == nullptr) return bad_field("messages", "is missing");
  if (!messages->is_array() || messages->empty()) return bad_field("messages", "must be a list of messages");
  if (messages->size() > kMaxMessages) {
    return bad_field("messages", "has more than " + std::to_string(kMaxMessages) + " messages");
  }
  std::vector<ChatMessage> chat;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < messages->size(); ++i) {
    CAIRN_TRY(ChatMessage message, read_message((*messages)[i], "messages[" + std::to_string(i) + "]"));
    bytes += message.content.size();
    chat.push_back(std::move(message));
  }
  CAIRN_TRY_VOID(check_prompt_bytes(bytes, model));
  request.prompts.push_back(encode_chat(*model.tokenizer, render_chat(model.family, chat, answered)));
  return request;
}

}  // namespace cairn

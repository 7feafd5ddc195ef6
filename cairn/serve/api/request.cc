// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/request.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "cairn/base/file.h"
#include "cairn/base/utf8.h"
#include "cairn/block/shape.h"
#include "cairn/text/begin_token.h"

namespace cairn::api {
namespace {

constexpr std::size_t kMaxMessages = 4096;
constexpr std::size_t kMaxPrefixFile = std::size_t{16} << 20;

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

constexpr const char* kKwargs = "chat_template_kwargs";

// Names for the chat template, in the order in which the client wrote them: it may show. They go before the server's.
ApiResult<jinja::Dict> read_template_kwargs(const Fields& fields, std::string_view body, const Model& model) {
  const Json* value = fields.find(kKwargs);
  if (value == nullptr) return model.chat_kwargs;
  if (!value->is_object()) return bad_field(kKwargs, "must be an object");
  const OrderedJson ordered = OrderedJson::parse(body, nullptr, /*allow_exceptions=*/false);
  auto kwargs = parse_chat_kwargs(json_text(ordered[kKwargs]));
  if (!kwargs) return bad_field(kKwargs, kwargs.error().message);
  if (!kwargs->items().empty() && !model.chat_template.is_jinja()) {
    return bad_field(kKwargs, "has no effect: the built-in template '" + std::string(model.chat_template.name()) +
                                  "' reads no names; leave it out");
  }
  jinja::Dict names = model.chat_kwargs;
  for (const jinja::Dict::Item& item : kwargs->items()) {
    if (const Status set = names.set(item.key, item.value); !set) return bad_field(kKwargs, set.error().message);
  }
  return names;
}

ApiResult<std::vector<TokenId>> encode_messages(const Model& model, std::span<const ChatMessage> chat,
                                                const ChatRenderOptions& options) {
  auto ids = model.chat_template.encode(*model.tokenizer, chat, options);
  if (ids) return *std::move(ids);
  // A template that fails, rather than refuses, is no fault of the messages.
  if (ids.error().code != ErrorCode::kInvalidArgument) return refuse(api_error(ids.error()));
  return refuse({.message = ids.error().message, .param = "messages", .code = "invalid_value"});
}

// What stays at the front of the prompt when the chat goes on: a template may write a last turn otherwise than one in
// the middle. Found by asking for both.
ApiResult<std::vector<TokenId>> encode_beginning(const Model& model, std::vector<ChatMessage> chat,
                                                 ChatRenderOptions options) {
  CAIRN_TRY(std::vector<TokenId> ids, encode_messages(model, chat, options));
  if (!model.chat_template.is_jinja()) return ids;
  options.add_generation_prompt = true;
  for (const ChatRole role : {ChatRole::kUser, ChatRole::kAssistant}) {
    chat.push_back({role, "x"});
    const auto longer = model.chat_template.encode(*model.tokenizer, chat, options);
    chat.pop_back();
    if (!longer) continue;
    ids.erase(std::ranges::mismatch(ids, *longer).in1, ids.end());
    break;
  }
  return ids;
}

// The prompt. A chat that is written without the request's names for the template, and not with them, is their fault.
ApiResult<std::vector<TokenId>> encode_prompt(const Model& model, const std::vector<ChatMessage>& chat,
                                              ChatRenderOptions options, bool brings_kwargs) {
  auto ids =
      options.add_generation_prompt ? encode_messages(model, chat, options) : encode_beginning(model, chat, options);
  if (ids || !brings_kwargs) return ids;
  options.kwargs = model.chat_kwargs;
  if (!model.chat_template.render(*model.tokenizer, chat, options)) return ids;
  return bad_field(kKwargs, "is at fault, since the chat can be written without it: " + ids.error().message);
}

constexpr std::size_t kDefaultMaxTokens = 16;  // as OpenAI's

// A text, several, the ids of one, or the ids of several.
ApiResult<void> read_prompts(const Json& value, const Model& model, const EncodeOptions& encode, bool echo,
                             CompletionRequest& request) {
  const Tokenizer& tokenizer = *model.tokenizer;
  const auto add_text = [&](const Json& json) -> ApiResult<void> {
    const auto& text = json.get_ref<const std::string&>();
    CAIRN_TRY_VOID(check_prompt_bytes(text.size(), model));
    request.doubled_bos |= doubles_bos(tokenizer, text, encode);
    request.prompts.push_back(tokenizer.encode(text, encode));
    if (echo) request.echo.push_back(text);
    return {};
  };
  const auto add_ids = [&](const Json& array, const std::string& path) -> ApiResult<void> {
    CAIRN_TRY(std::vector<TokenId> ids, read_token_ids(array, path, tokenizer));
    if (ids.empty()) return bad_field(path, "is empty");
    if (echo) request.echo.push_back(tokenizer.decode(ids));
    request.prompts.push_back(std::move(ids));
    return {};
  };
  if (value.is_string()) return add_text(value);
  if (!value.is_array()) return bad_field("prompt", "must be a string, a list of strings or lists of token ids");
  if (value.empty()) return bad_field("prompt", "is empty");
  if (value[0].is_number()) return add_ids(value, "prompt");
  if (value.size() > kMaxPrompts) {
    return bad_field("prompt", "has more than " + std::to_string(kMaxPrompts) + " entries");
  }
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string path = "prompt[" + std::to_string(i) + "]";
    if (value[i].is_string()) {
      CAIRN_TRY_VOID(add_text(value[i]));
    } else if (value[i].is_array()) {
      CAIRN_TRY_VOID(add_ids(value[i], path));
    } else {
      return bad_field(path, "must be a string or a list of token ids");
    }
  }
  return {};
}

}  // namespace

ApiResult<CompletionRequest> parse_chat_request(std::string_view body, const Model& model, bool answered) {
  CAIRN_TRY(const Json json, parse_object(body));
  const Fields fields(json);
  CompletionRequest request{.chat = true};
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
  CAIRN_TRY(jinja::Dict kwargs, read_template_kwargs(fields, body, model));
  CAIRN_TRY(
      std::vector<TokenId> prompt,
      encode_prompt(model, chat, {.add_generation_prompt = answered, .kwargs = std::move(kwargs), .now = local_time()},
                    fields.find(kKwargs) != nullptr));
  request.prompts.push_back(std::move(prompt));
  return request;
}

ApiResult<CompletionRequest> parse_completion_request(std::string_view body, const Model& model) {
  CAIRN_TRY(const Json json, parse_object(body));
  const Fields fields(json);
  CompletionRequest request;
  CAIRN_TRY_VOID(read_common_fields(fields, model, request));
  if (request.each.max_tokens == 0) request.each.max_tokens = kDefaultMaxTokens;
  CAIRN_TRY(const auto logprobs, fields.integer("logprobs", 0, kMaxTopLogprobs));
  if (logprobs) request.each.logprobs = static_cast<std::uint32_t>(*logprobs);
  CAIRN_TRY(const auto echo, fields.flag("echo"));
  if (echo.value_or(false) && logprobs) return bad_field("echo", "does not go together with 'logprobs' here");
  // A raw prompt contains its own marks, as in other servers. A client that passes on foreign text can turn that off.
  CAIRN_TRY(const auto special, fields.flag("parse_special"));
  CAIRN_TRY(const auto bos, fields.flag("add_special_tokens"));
  const EncodeOptions encode{.add_bos = bos.value_or(true), .parse_special = special.value_or(true)};

  const Json* prompt = fields.find("prompt");
  if (prompt == nullptr) return bad_field("prompt", "is missing");
  CAIRN_TRY_VOID(read_prompts(*prompt, model, encode, echo.value_or(false), request));
  if (request.prompts.size() * request.choices > kMaxPrompts) {
    return bad_field("n", "times the prompts is more than " + std::to_string(kMaxPrompts));
  }
  return request;
}

std::vector<GenerateRequest> generate_requests(CompletionRequest& request, const std::string& id,
                                               const std::string& tenant, std::uint64_t random_seed) {
  std::vector<GenerateRequest> each;
  const std::size_t all = request.prompts.size() * request.choices;
  const std::uint64_t seed = request.seeded ? request.each.sampler.seed : random_seed;
  for (std::size_t index = 0; index < all; ++index) {
    GenerateRequest& one = each.emplace_back(request.each);
    one.id = all == 1 ? id : id + "-" + std::to_string(index);
    one.tenant = tenant;
    one.prompt = request.prompts[index / request.choices];
    one.sampler.seed = seed + index % request.choices;
  }
  return each;
}

Result<std::vector<std::vector<TokenId>>> parse_public_prefix(std::string_view body, const std::string& name,
                                                              const Model& model) {
  // A prefix ends before the assistant's turn: a user's turn may follow as well.
  const auto parse = [&]() -> ApiResult<CompletionRequest> {
    CAIRN_TRY(const Json json, parse_object(body));
    return json.contains("messages") ? parse_chat_request(body, model, /*answered=*/false)
                                     : parse_completion_request(body, model);
  };
  ApiResult<CompletionRequest> request = parse();
  if (!request) return fail(ErrorCode::kInvalidArgument, name + ": " + request.error().message);
  if (request->each.own_policy) {
    return fail(ErrorCode::kInvalidArgument, name + ": a public prefix is kept whole; leave 'cairn.policy' out");
  }
  for (const std::vector<TokenId>& prompt : request->prompts) {
    if (prompt.size() >= kBlockTokens) continue;
    return fail(ErrorCode::kInvalidArgument, name + ": a prefix of " + std::to_string(prompt.size()) +
                                                 " tokens cannot be held: blocks have " + std::to_string(kBlockTokens));
  }
  return std::move(request->prompts);
}

Result<std::vector<std::vector<TokenId>>> read_public_prefixes(const std::vector<std::string>& paths,
                                                               const Model& model) {
  std::vector<std::vector<TokenId>> prefixes;
  for (const std::string& path : paths) {
    CAIRN_TRY(const std::vector<std::byte> bytes, read_file(path, kMaxPrefixFile));
    const std::string_view body(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    CAIRN_TRY(std::vector<std::vector<TokenId>> prompts, parse_public_prefix(body, path, model));
    std::ranges::move(prompts, std::back_inserter(prefixes));
  }
  return prefixes;
}

}  // namespace cairn::api

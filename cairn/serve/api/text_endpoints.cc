// SPDX-License-Identifier: Apache-2.0
// Models and tokens, as OpenAI and llama-server have them; and what is not served.
#include "cairn/base/utf8.h"
#include "cairn/serve/api/endpoints.h"

namespace cairn {
namespace {

OrderedJson model_json(const ApiContext& context) {
  return {{"id", context.options.model.name},
          {"object", "model"},
          {"created", context.started_s},
          {"owned_by", "cairn"},
          {"max_model_len", context.backend.context()}};
}

HttpReply reply_to(ApiCall& call, const ApiResult<OrderedJson>& result) {
  if (result) return {.body = json_text(*result)};
  call.record.error = result.error().message;
  return error_reply(result.error());
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_char_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

// A piece that is no text of its own is the list of its bytes, as llama-server has it.
OrderedJson piece_json(const Tokenizer& tokenizer, TokenId id) {
  const std::string piece = tokenizer.decode({&id, 1}, {.show_control = true, .continues_text = true});
  if (is_utf8(piece)) return {{"id", id}, {"piece", piece}};
  OrderedJson bytes = OrderedJson::array();
  for (const char byte : piece) bytes.push_back(static_cast<unsigned char>(byte));
  return {{"id", id}, {"piece", std::move(bytes)}};
}

ApiResult<OrderedJson> tokenize_body(const ApiModel& model, std::string_view body) {
  CAIRN_TRY(const Json json, parse_object(body));
  const Fields fields(json);
  CAIRN_TRY(const std::string content, fields.needed_text("content"));
  CAIRN_TRY(const auto add_special, fields.flag("add_special"));
  CAIRN_TRY(const auto parse_special, fields.flag("parse_special"));
  CAIRN_TRY(const auto with_pieces, fields.flag("with_pieces"));
  const std::vector<TokenId> ids = model.tokenizer->encode(
      content, {.add_bos = add_special.value_or(false), .parse_special = parse_special.value_or(true)});
  if (!with_pieces.value_or(false)) return OrderedJson{{"tokens", ids}};
  OrderedJson pieces = OrderedJson::array();
  for (const TokenId id : ids) pieces.push_back(piece_json(*model.tokenizer, id));
  return OrderedJson{{"tokens", std::move(pieces)}};
}

ApiResult<OrderedJson> detokenize_body(const ApiModel& model, std::string_view body) {
  CAIRN_TRY(const Json json, parse_object(body));
  const Json* tokens = Fields(json).find("tokens");
  if (tokens == nullptr) return bad_field("tokens", "is missing");
  if (!tokens->is_array()) return bad_field("tokens", "must be a list of token ids");
  CAIRN_TRY(const std::vector<TokenId> ids, read_token_ids(*tokens, "tokens", *model.tokenizer));
  return OrderedJson{{"content", model.tokenizer->decode(ids, {.show_control = true})}};
}

}  // namespace

HttpReply list_models(ApiContext& context, ApiCall& /*call*/) {
  return {.body = json_text({{"object", "list"}, {"data", OrderedJson::array({model_json(context)})}})};
}

HttpReply one_model(ApiContext& context, ApiCall& call) {
  const std::string id = call.http.path.substr(std::string_view("/v1/models/").size());
  if (id == context.options.model.name) return {.body = json_text(model_json(context))};
  return error_reply({.status = 404,
                      .message = "the model '" + printable_start(id, 100) + "' is not served here",
                      .param = "model",
                      .code = "model_not_found"});
}

HttpReply embeddings(ApiContext& /*context*/, ApiCall& /*call*/) {
  return error_reply({.status = 501,
                      .message = "this server generates text; it does not compute embeddings",
                      .code = "unsupported_endpoint"});
}

HttpReply tokenize(ApiContext& context, ApiCall& call) {
  return reply_to(call, tokenize_body(context.options.model, call.http.body));
}

HttpReply detokenize(ApiContext& context, ApiCall& call) {
  return reply_to(call, detokenize_body(context.options.model, call.http.body));
}

}  // namespace cairn

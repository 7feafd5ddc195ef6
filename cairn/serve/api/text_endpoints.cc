// SPDX-License-Identifier: Apache-2.0
// Models and tokens, as OpenAI and llama-server have them; and what is not served.
#include <algorithm>
#include <optional>

#include "cairn/base/utf8.h"
#include "cairn/serve/api/endpoints.h"
#include "cairn/text/begin_token.h"

namespace cairn::api {
namespace {

constexpr std::chrono::milliseconds kTurnGlance{100};

OrderedJson model_json(const Context& context) {
  return {{"id", context.options.model.name},
          {"object", "model"},
          {"created", context.started_s},
          {"owned_by", "cairn"},
          {"max_model_len", context.backend.context()}};
}

http::Reply reply_to(Call& call, ApiResult<std::string> result) {
  if (result) return {.body = *std::move(result)};
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

// Written as text at once: as JSON values the tokens would take a hundred times the bytes of their text.
std::string tokens_text(const Tokenizer& tokenizer, const std::vector<TokenId>& ids, bool with_pieces) {
  std::string text = R"({"tokens":[)";
  for (const TokenId id : ids) {
    if (text.back() != '[') text += ',';
    text += with_pieces ? json_text(piece_json(tokenizer, id)) : std::to_string(id);
  }
  return text += "]}";
}

std::string mib(std::size_t bytes) {
  return std::to_string(bytes >> 20) + " MiB";
}

ApiResult<std::string> tokenize_body(const Model& model, std::string_view body, RequestRecord& record) {
  CAIRN_TRY(const Json json, parse_object(body));
  const Fields fields(json);
  CAIRN_TRY(const std::string content, fields.needed_text("content"));
  CAIRN_TRY(const auto add_special, fields.flag("add_special"));
  CAIRN_TRY(const auto parse_special, fields.flag("parse_special"));
  CAIRN_TRY(const auto with_pieces, fields.flag("with_pieces"));
  const bool pieces = with_pieces.value_or(false);
  if (content.size() > kMaxTokenized) return bad_field("content", "has more than " + mib(kMaxTokenized));
  if (pieces && content.size() > kMaxInPieces) {
    return bad_field("content", "has more than " + mib(kMaxInPieces) + ", which is too much for 'with_pieces'");
  }
  const EncodeOptions encode{.add_bos = add_special.value_or(false), .parse_special = parse_special.value_or(true)};
  if (doubles_bos(*model.tokenizer, content, encode)) record.note = kPromptDoublesBos;
  const std::vector<TokenId> ids = model.tokenizer->encode(content, encode);
  return tokens_text(*model.tokenizer, ids, pieces);
}

ApiResult<std::string> detokenize_body(const Model& model, std::string_view body) {
  CAIRN_TRY(const Json json, parse_object(body));
  const Json* tokens = Fields(json).find("tokens");
  if (tokens == nullptr) return bad_field("tokens", "is missing");
  if (!tokens->is_array()) return bad_field("tokens", "must be a list of token ids");
  CAIRN_TRY(const std::vector<TokenId> ids, read_token_ids(*tokens, "tokens", *model.tokenizer));
  std::size_t bytes = 0;
  for (const TokenId id : ids) {
    bytes += std::max(model.tokenizer->token_bytes(id).size(), model.tokenizer->token_text(id).size());
  }
  if (bytes > kMaxTokenized) return bad_field("tokens", "stand for more than " + mib(kMaxTokenized) + " of text");
  return json_text({{"content", model.tokenizer->decode(ids, {.show_control = true})}});
}

}  // namespace

std::expected<TextTurns::Turn, NoTurn> TextTurns::take(std::string_view tenant,
                                                       const std::function<bool()>& client_gone, Deadline deadline) {
  std::unique_lock lock(mutex_);
  const std::uint64_t number = next_++;
  join(tenant, number);
  std::optional<NoTurn> end;
  const auto is_next = [&] { return free_ > 0 && lines_.front().numbers.front() == number; };
  while (!end && !changed_.wait_until(lock, std::min(deadline, deadline_in(kTurnGlance)), is_next)) {
    lock.unlock();
    if (client_gone()) {
      end = NoTurn::kClientGone;
    } else if (passed(deadline)) {
      end = NoTurn::kTooLate;
    }
    lock.lock();
  }
  leave(tenant, number, !end);
  if (!end) --free_;
  changed_.notify_all();  // another may be the first now
  if (end) return std::unexpected(*end);
  return Turn(*this);
}

void TextTurns::join(std::string_view tenant, std::uint64_t number) {
  auto line = std::ranges::find(lines_, tenant, &Line::tenant);
  if (line == lines_.end()) line = lines_.insert(line, Line{.tenant = std::string(tenant), .numbers = {}});
  line->numbers.push_back(number);
}

void TextTurns::leave(std::string_view tenant, std::uint64_t number, bool with_turn) {
  const auto line = std::ranges::find(lines_, tenant, &Line::tenant);
  std::erase(line->numbers, number);
  if (line->numbers.empty()) {
    lines_.erase(line);
  } else if (with_turn) {
    std::rotate(line, line + 1, lines_.end());
  }
}

void TextTurns::give_back() {
  const std::lock_guard lock(mutex_);
  ++free_;
  changed_.notify_all();
}

ApiResult<std::optional<TextTurns::Turn>> turn_of(Context& context, Call& call) {
  if (call.http.body.size() <= kLargeText) return std::nullopt;
  auto turn = context.turns.take(call.record.tenant, call.http.client_gone, deadline_in(context.options.turn_time));
  if (turn) return std::optional(*std::move(turn));
  call.record.client_gone = turn.error() == NoTurn::kClientGone;
  if (call.record.client_gone) return refuse({.status = kClientGoneStatus, .message = "the client is gone"});
  return refuse({.status = 503,
                 .message = "too many large texts are being read; try again",
                 .code = "overloaded",
                 .retry_after_s = 1});
}

http::Reply list_models(Context& context, Call& /*call*/) {
  return {.body = json_text({{"object", "list"}, {"data", OrderedJson::array({model_json(context)})}})};
}

http::Reply one_model(Context& context, Call& call) {
  const std::string id = call.http.path.substr(std::string_view("/v1/models/").size());
  if (id == context.options.model.name) return {.body = json_text(model_json(context))};
  return error_reply({.status = 404,
                      .message = "the model '" + printable_start(id, 100) + "' is not served here",
                      .param = "model",
                      .code = "model_not_found"});
}

http::Reply embeddings(Context& /*context*/, Call& /*call*/) {
  return error_reply({.status = 501,
                      .message = "this server generates text; it does not compute embeddings",
                      .code = "unsupported_endpoint"});
}

http::Reply tokenize(Context& context, Call& call) {
  return reply_to(
      call, in_turn(context, call, [&] { return tokenize_body(context.options.model, call.http.body, call.record); }));
}

http::Reply detokenize(Context& context, Call& call) {
  return reply_to(call, in_turn(context, call, [&] { return detokenize_body(context.options.model, call.http.body); }));
}

}  // namespace cairn::api

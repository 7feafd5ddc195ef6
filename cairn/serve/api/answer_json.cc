// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/answer_json.h"

#include <algorithm>
#include <cmath>
#include <span>

namespace cairn::api {
namespace {

// JSON has no infinities; OpenAI writes -9999 for what is all but impossible.
double finite(float logprob) {
  return std::isfinite(logprob) ? static_cast<double>(logprob) : -9999.0;
}

std::string token_name(const Tokenizer& tokenizer, TokenId id) {
  const std::string_view bytes = tokenizer.token_bytes(id);
  return std::string(bytes.empty() ? tokenizer.token_text(id) : bytes);
}

OrderedJson chat_token(const Tokenizer& tokenizer, const TokenLogprob& token) {
  OrderedJson bytes = OrderedJson::array();
  for (const char byte : tokenizer.token_bytes(token.id)) bytes.push_back(static_cast<unsigned char>(byte));
  return {{"token", token_name(tokenizer, token.id)}, {"logprob", finite(token.logprob)}, {"bytes", std::move(bytes)}};
}

OrderedJson chat_logprobs(const Tokenizer& tokenizer, std::span<const GeneratedPiece> pieces) {
  OrderedJson content = OrderedJson::array();
  for (const GeneratedPiece& piece : pieces) {
    if (!piece.logprob) continue;
    OrderedJson token = chat_token(tokenizer, *piece.logprob);
    token["top_logprobs"] = OrderedJson::array();
    for (const TokenLogprob& other : piece.top_logprobs) token["top_logprobs"].push_back(chat_token(tokenizer, other));
    content.push_back(std::move(token));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

OrderedJson completion_logprobs(const Tokenizer& tokenizer, std::span<const GeneratedPiece> pieces,
                                std::size_t offset) {
  OrderedJson tokens = OrderedJson::array(), values = tokens, top = tokens, offsets = tokens;
  for (const GeneratedPiece& piece : pieces) {
    if (!piece.logprob) continue;
    tokens.push_back(token_name(tokenizer, piece.logprob->id));
    values.push_back(finite(piece.logprob->logprob));
    OrderedJson likeliest = OrderedJson::object();
    for (const TokenLogprob& other : piece.top_logprobs) {
      likeliest[token_name(tokenizer, other.id)] = finite(other.logprob);
    }
    top.push_back(std::move(likeliest));
    offsets.push_back(offset);
    offset += utf8_length(piece.text);
  }
  return {{"tokens", std::move(tokens)},
          {"token_logprobs", std::move(values)},
          {"top_logprobs", std::move(top)},
          {"text_offset", std::move(offsets)}};
}

OrderedJson logprobs_json(const AnswerHead& head, std::span<const GeneratedPiece> pieces, std::size_t offset) {
  if (std::ranges::none_of(pieces, [](const GeneratedPiece& piece) { return piece.logprob.has_value(); }))
    return nullptr;
  return head.chat ? chat_logprobs(*head.tokenizer, pieces) : completion_logprobs(*head.tokenizer, pieces, offset);
}

OrderedJson head_json(const AnswerHead& head, const char* chat_object) {
  return {{"id", head.id},
          {"object", head.chat ? chat_object : "text_completion"},
          {"created", head.created},
          {"model", head.model}};
}

OrderedJson chunk(const AnswerHead& head, OrderedJson choice) {
  OrderedJson json = head_json(head, "chat.completion.chunk");
  json["choices"] = OrderedJson::array({std::move(choice)});
  if (head.usage_in_chunks) json["usage"] = nullptr;
  return json;
}

OrderedJson choice_chunk(const AnswerHead& head, std::size_t index, OrderedJson delta, const std::string& text,
                         OrderedJson logprobs, OrderedJson reason) {
  OrderedJson choice = {{"index", index}};
  if (head.chat) {
    choice["delta"] = std::move(delta);
  } else {
    choice["text"] = text;
  }
  choice["logprobs"] = std::move(logprobs);
  choice["finish_reason"] = std::move(reason);
  return chunk(head, std::move(choice));
}

}  // namespace

std::size_t utf8_length(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

const char* finish_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop: return "stop";
    case FinishReason::kLength: return "length";
    case FinishReason::kCancelled: return "cancelled";
    case FinishReason::kError: return "error";
  }
  return "error";
}

OrderedJson usage_json(const GenerationUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}, {"stored_tokens", usage.stored_tokens}}}};
}

std::string answer_json(const AnswerHead& head, const std::vector<AnswerChoice>& choices,
                        const GenerationUsage& usage) {
  OrderedJson json = head_json(head, "chat.completion");
  json["choices"] = OrderedJson::array();
  for (std::size_t index = 0; index < choices.size(); ++index) {
    const AnswerChoice& from = choices[index];
    OrderedJson choice = {{"index", index}};
    if (head.chat) {
      choice["message"] = {{"role", "assistant"}, {"content", from.text}, {"refusal", nullptr}};
    } else {
      choice["text"] = from.text;
    }
    choice["logprobs"] = logprobs_json(head, from.tokens, 0);
    choice["finish_reason"] = finish_name(from.reason);
    json["choices"].push_back(std::move(choice));
  }
  json["usage"] = usage_json(usage);
  return json_text(json);
}

std::string sse_event(const OrderedJson& value) {
  return "data: " + json_text(value) + "\n\n";
}

OrderedJson first_chunk(const AnswerHead& head, std::size_t index, const std::string& echo) {
  return choice_chunk(head, index, {{"role", "assistant"}, {"content", ""}}, echo, nullptr, nullptr);
}

OrderedJson piece_chunk(const AnswerHead& head, std::size_t index, const GeneratedPiece& piece,
                        std::size_t text_offset) {
  return choice_chunk(head, index, {{"content", piece.text}}, piece.text, logprobs_json(head, {&piece, 1}, text_offset),
                      nullptr);
}

OrderedJson last_chunk(const AnswerHead& head, std::size_t index, FinishReason reason) {
  return choice_chunk(head, index, OrderedJson::object(), "", nullptr, finish_name(reason));
}

OrderedJson usage_chunk(const AnswerHead& head, const GenerationUsage& usage) {
  OrderedJson json = head_json(head, "chat.completion.chunk");
  json["choices"] = OrderedJson::array();
  json["usage"] = usage_json(usage);
  return json;
}

}  // namespace cairn::api

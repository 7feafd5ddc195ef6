// SPDX-License-Identifier: Apache-2.0
// The fields that chat and completions share.
#include <cmath>
#include <span>

#include "cairn/base/utf8.h"
#include "cairn/serve/api/request.h"

namespace cairn::api {
namespace {

// What can be in a request only with this value, since nothing here does what other values ask for.
enum class Harmless : std::uint8_t { kZero, kOne, kFalse, kTrue, kEmpty, kNone, kText, kOnlyText };

struct Unsupported {
  const char* name;
  Harmless harmless;
};

constexpr Unsupported kUnsupported[] = {
    {"frequency_penalty", Harmless::kZero},
    {"presence_penalty", Harmless::kZero},
    {"logit_bias", Harmless::kEmpty},
    {"best_of", Harmless::kOne},
    {"use_beam_search", Harmless::kFalse},
    {"suffix", Harmless::kEmpty},
    {"tools", Harmless::kEmpty},
    {"tool_choice", Harmless::kNone},
    {"functions", Harmless::kEmpty},
    {"function_call", Harmless::kNone},
    {"response_format", Harmless::kText},
    {"json_schema", Harmless::kEmpty},
    {"grammar", Harmless::kEmpty},
    {"structured_outputs", Harmless::kEmpty},
    {"guided_json", Harmless::kEmpty},
    {"guided_regex", Harmless::kEmpty},
    {"guided_choice", Harmless::kEmpty},
    {"guided_grammar", Harmless::kEmpty},
    {"modalities", Harmless::kOnlyText},
    {"audio", Harmless::kEmpty},
    {"web_search_options", Harmless::kEmpty},
    {"chat_template", Harmless::kEmpty},
    {"prompt_logprobs", Harmless::kZero},
    {"min_tokens", Harmless::kZero},
    {"mirostat", Harmless::kZero},
    {"typical_p", Harmless::kOne},
    {"dry_multiplier", Harmless::kZero},
    {"xtc_probability", Harmless::kZero},
    {"dynatemp_range", Harmless::kZero},
    {"bad_words", Harmless::kEmpty},
    {"stop_token_ids", Harmless::kEmpty},
    {"samplers", Harmless::kEmpty},
};

// Which mean nothing in a completion, or something that it has.
constexpr Unsupported kUnsupportedInChat[] = {
    {"continue_final_message", Harmless::kFalse},
    {"add_generation_prompt", Harmless::kTrue},
    {"echo", Harmless::kFalse},
};

bool is_number(const Json& value, double number) {
  return value.is_number() && value.get<double>() == number;
}

bool is_harmless(const Json& value, Harmless harmless) {
  switch (harmless) {
    case Harmless::kZero: return is_number(value, 0);
    case Harmless::kOne: return is_number(value, 1);
    case Harmless::kFalse: return value == false;
    case Harmless::kTrue: return value == true;
    case Harmless::kEmpty:
      return (value.is_string() && value.get_ref<const std::string&>().empty()) ||
             (value.is_structured() && value.empty());
    case Harmless::kNone: return value == "none";
    case Harmless::kText: return value.is_object() && value.contains("type") && value["type"] == "text";
    case Harmless::kOnlyText: return value == Json::array({"text"});
  }
  return false;
}

ApiResult<void> refuse_unsupported(const Fields& fields, std::span<const Unsupported> table) {
  for (const Unsupported& entry : table) {
    const Json* value = fields.find(entry.name);
    if (value == nullptr || is_harmless(*value, entry.harmless)) continue;
    return refuse({.message = "'" + std::string(entry.name) + "' is not supported here; leave it out",
                   .param = entry.name,
                   .code = "unsupported_parameter"});
  }
  return {};
}

ApiResult<void> read_sampling(const Fields& fields, SamplerOptions& sampler) {
  // Sampler::make asks for the same ranges, but does not know under which name a client sent a value.
  CAIRN_TRY(const auto temperature, fields.number("temperature", 0, 100));
  if (temperature) sampler.temperature = static_cast<float>(*temperature);
  CAIRN_TRY(const auto top_p, fields.number("top_p", 0, 1));
  if (top_p && !(static_cast<float>(*top_p) > 0)) return bad_field("top_p", "must be above 0 and at most 1");
  if (top_p) sampler.top_p = static_cast<float>(*top_p);
  CAIRN_TRY(const auto top_k, fields.integer("top_k", -1, INT32_MAX));
  if (top_k) sampler.top_k = static_cast<std::int32_t>(std::max<std::int64_t>(*top_k, 0));
  CAIRN_TRY(const auto min_p, fields.number("min_p", 0, 1));
  if (min_p) sampler.min_p = static_cast<float>(*min_p);
  for (const char* name : {"repetition_penalty", "repeat_penalty"}) {  // as vLLM and llama-server call it
    CAIRN_TRY(const auto penalty, fields.number(name, 0, 100));
    if (penalty && !(static_cast<float>(*penalty) > 0)) return bad_field(name, "must be above 0 and at most 100");
    if (penalty) sampler.repetition_penalty = static_cast<float>(*penalty);
  }
  CAIRN_TRY(const auto window, fields.integer("repeat_last_n", 0, 1 << 20));
  if (window) sampler.repetition_window = static_cast<std::int32_t>(*window);
  return {};
}

ApiResult<void> read_seed(const Fields& fields, CompletionRequest& request) {
  const Json* seed = fields.find("seed");
  if (seed == nullptr) return {};
  if (!seed->is_number_integer()) return bad_field("seed", "must be a whole number");
  request.seeded = true;
  request.each.sampler.seed =
      seed->is_number_unsigned() ? seed->get<std::uint64_t>() : static_cast<std::uint64_t>(seed->get<std::int64_t>());
  return {};
}

ApiResult<void> read_stop(const Fields& fields, std::vector<std::string>& stop) {
  const Json* value = fields.find("stop");
  if (value == nullptr) return {};
  const Json list = value->is_array() ? *value : Json::array({*value});
  if (list.size() > kMaxStops) return bad_field("stop", "has more than " + std::to_string(kMaxStops) + " strings");
  for (const Json& entry : list) {
    if (!entry.is_string()) return bad_field("stop", "must be a string or a list of strings");
    std::string text = entry.get<std::string>();
    if (text.size() > kLongestStop) {
      return bad_field("stop", "has a string of more than " + std::to_string(kLongestStop) + " bytes");
    }
    if (!text.empty()) stop.push_back(std::move(text));
  }
  return {};
}

ApiResult<void> read_stream(const Fields& fields, CompletionRequest& request) {
  CAIRN_TRY(const auto stream, fields.flag("stream"));
  request.stream = stream.value_or(false);
  const Json* options = fields.find("stream_options");
  if (options == nullptr) return {};
  if (!options->is_object()) return bad_field("stream_options", "must be an object");
  if (!request.stream) return bad_field("stream_options", "makes sense only with stream");
  CAIRN_TRY(const auto usage, Fields(*options, "stream_options.").flag("include_usage"));
  request.include_usage = usage.value_or(false);
  return {};
}

// What this server alone knows. A name that it does not know is refused: it was meant to change something.
ApiResult<void> read_cairn(const Fields& fields, const Model& model, GenerateRequest& each) {
  constexpr std::size_t kLongestPolicy = 200;  // bytes, since errors repeat it
  const Json* value = fields.find("cairn");
  if (value == nullptr) return {};
  if (!value->is_object()) return bad_field("cairn", "must be an object");
  const Fields own(*value, "cairn.");
  for (const auto& [name, unused] : value->items()) {
    if (name != "policy") return bad_field(own.path(printable_start(name, 40)), "is not known; there is 'policy'");
  }
  CAIRN_TRY(const auto asked, own.text("policy"));
  if (!asked) return {};
  if (asked->size() > kLongestPolicy) {
    return bad_field("cairn.policy", "has more than " + std::to_string(kLongestPolicy) + " bytes");
  }
  auto policy = model.policies.choose(*asked);
  if (!policy) return bad_field("cairn.policy", "cannot be had: " + policy.error().message);
  each.own_policy = true;
  each.policy = *std::move(policy);
  return {};
}

}  // namespace

ApiResult<void> check_model(const Fields& fields, const Model& model) {
  CAIRN_TRY(const auto name, fields.text("model"));
  if (!name || name->empty() || *name == "default" || *name == model.name) return {};
  return refuse(
      {.status = 404,
       .message = "the model '" + printable_start(*name, 100) + "' is not served here; '" + model.name + "' is",
       .param = "model",
       .code = "model_not_found"});
}

ApiResult<void> check_prompt_bytes(std::size_t bytes, const Model& model) {
  const std::size_t longest = model.tokenizer->longest_token_bytes();
  const std::size_t least = bytes / longest + (bytes % longest != 0);
  if (model.context == 0 || least <= model.context) return {};
  return refuse({.message = "the context holds " + std::to_string(model.context) +
                            " tokens, but the prompt has at least " + std::to_string(least),
                 .code = "context_length_exceeded"});
}

ApiResult<void> read_common_fields(const Fields& fields, const Model& model, CompletionRequest& request) {
  CAIRN_TRY_VOID(check_model(fields, model));
  CAIRN_TRY_VOID(refuse_unsupported(fields, kUnsupported));
  if (request.chat) CAIRN_TRY_VOID(refuse_unsupported(fields, kUnsupportedInChat));
  if (fields.find("n_predict") != nullptr) {  // llama-server's name; with two names, one would have to win
    return refuse({.message = "'n_predict' is not supported here; use max_tokens",
                   .param = "n_predict",
                   .code = "unsupported_parameter"});
  }
  request.each.sampler = model.sampler;
  CAIRN_TRY_VOID(read_sampling(fields, request.each.sampler));
  CAIRN_TRY_VOID(read_seed(fields, request));
  CAIRN_TRY_VOID(read_stop(fields, request.each.stop));
  CAIRN_TRY_VOID(read_stream(fields, request));
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    CAIRN_TRY(const auto tokens, fields.integer(name, 1, INT32_MAX));
    if (tokens) request.each.max_tokens = static_cast<std::size_t>(*tokens);
  }
  CAIRN_TRY(const auto choices, fields.integer("n", 1, kMaxChoices));
  request.choices = static_cast<std::size_t>(choices.value_or(1));
  CAIRN_TRY(const auto ignore_eos, fields.flag("ignore_eos"));
  request.each.ignore_eos = ignore_eos.value_or(false);
  return read_cairn(fields, model, request.each);
}

ApiResult<std::vector<TokenId>> read_token_ids(const Json& array, const std::string& path, const Tokenizer& tokenizer) {
  std::vector<TokenId> ids;
  ids.reserve(array.size());
  for (const Json& entry : array) {
    if (!entry.is_number_integer()) return bad_field(path, "must hold token ids alone");
    const bool fits = entry.is_number_unsigned() && entry.get<std::uint64_t>() < tokenizer.size();
    if (!fits) return bad_field(path, "holds " + entry.dump() + ", which is not in the vocabulary");
    ids.push_back(entry.get<TokenId>());
  }
  return ids;
}

}  // namespace cairn::api

// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/api_request.h"

namespace cairn {
namespace {

constexpr std::size_t kDefaultMaxTokens = 16;  // as OpenAI's

// A text, several, the ids of one, or the ids of several.
ApiResult<void> read_prompts(const Json& value, const ApiModel& model, const EncodeOptions& encode, bool echo,
                             ApiRequest& request) {
  const Tokenizer& tokenizer = *model.tokenizer;
  const auto add_text = [&](const Json& json) -> ApiResult<void> {
    const auto& text = json.get_ref<const std::string&>();
    CAIRN_TRY_VOID(check_prompt_bytes(text.size(), model));
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

ApiResult<ApiRequest> parse_completion_request(std::string_view body, const ApiModel& model) {
  CAIRN_TRY(const Json json, parse_object(body));
  const Fields fields(json);
  ApiRequest request;
  CAIRN_TRY_VOID(read_common_fields(fields, model, request));
  if (request.each.max_tokens == 0) request.each.max_tokens = kDefaultMaxTokens;
  CAIRN_TRY(const auto logprobs, fields.integer("logprobs", 0, kMaxTopLogprobs));
  if (logprobs) request.each.logprobs = static_cast<std::uint32_t>(*logprobs);
  CAIRN_TRY(const auto echo, fields.flag("echo"));
  if (echo.value_or(false) && logprobs) return bad_field("echo", "does not go together with 'logprobs' here");
  // Whoever sends a raw prompt writes its marks too, as other servers have it; for text of strangers it can be turned
  // off.
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

std::vector<GenerateRequest> generate_requests(ApiRequest& request, const std::string& id, const std::string& tenant,
                                               std::uint64_t random_seed) {
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

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Bodies of /v1/chat/completions and /v1/completions, as requests to the backend. A field that would change the answer
// and that this server cannot honour is refused by its name; unknown fields are accepted, since clients send new ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/serve/api/json_text.h"
#include "cairn/serve/generate_request.h"
#include "cairn/text/chat_template.h"
#include "cairn/text/tokenizer.h"

namespace cairn {

inline constexpr std::int64_t kMaxChoices = 16;  // n
inline constexpr std::size_t kMaxPrompts = 64;   // of one request, times n
inline constexpr std::size_t kMaxStops = 16;
inline constexpr std::size_t kLongestStop = 1024;  // bytes
inline constexpr std::int64_t kMaxTopLogprobs = 20;
// Bytes of text for /tokenize and from /detokenize, and of text whose pieces are asked for: an answer has up to seven
// bytes per byte of the first, and up to thirty per byte of the second.
inline constexpr std::size_t kMaxTokenized = std::size_t{4} << 20;
inline constexpr std::size_t kMaxInPieces = std::size_t{1} << 20;

// What a request is read against. The tokenizer must outlive it.
struct ApiModel {
  const Tokenizer* tokenizer = nullptr;
  std::size_t context = 0;  // tokens; 0: a prompt is encoded however long it is
  ChatFamily family = ChatFamily::kPlain;
  std::string name;  // as clients ask for it
  // Where a request says nothing. Those of OpenAI: draw from the model's own distribution.
  SamplerOptions sampler{.temperature = 1.0F, .top_k = 0, .top_p = 1.0F, .min_p = 0.0F};
};

struct ApiRequest {
  bool chat = false;
  bool stream = false;
  bool include_usage = false;       // as the last chunk of a stream
  std::vector<std::string> echo{};  // one per prompt, to stand before the answers; or empty
  bool seeded = false;              // else every choice draws a seed of its own
  std::size_t choices = 1;          // per prompt
  std::vector<std::vector<TokenId>> prompts{};
  GenerateRequest each{};  // all but id, tenant, prompt and seed
};

// `answered`: the prompt ends with the opening of the assistant's turn.
ApiResult<ApiRequest> parse_chat_request(std::string_view body, const ApiModel& model, bool answered = true);
ApiResult<ApiRequest> parse_completion_request(std::string_view body, const ApiModel& model);

// One per choice, in the order of `index`; ids get "-INDEX" behind them where there are several.
std::vector<GenerateRequest> generate_requests(ApiRequest& request, const std::string& id, const std::string& tenant,
                                               std::uint64_t random_seed);

// 404 unless it is the served one, "default" or empty.
ApiResult<void> check_model(const Fields& fields, const ApiModel& model);
// Refuses that many bytes of text where they must be more tokens than the context holds, so that nobody encodes them.
ApiResult<void> check_prompt_bytes(std::size_t bytes, const ApiModel& model);
// Everything that both endpoints have; see request_fields.cc.
ApiResult<void> read_common_fields(const Fields& fields, const ApiModel& model, ApiRequest& request);
// Each must be within the vocabulary.
ApiResult<std::vector<TokenId>> read_token_ids(const Json& array, const std::string& path, const Tokenizer& tokenizer);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Bodies of /v1/chat/completions and /v1/completions, as requests to the backend. A field that would change the answer
// and that this server cannot honour is refused by its name; unknown fields are accepted, since clients send new ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/serve/api/json.h"
#include "cairn/serve/backend.h"
#include "cairn/serve/request_policies.h"
#include "cairn/text/chat_template.h"
#include "cairn/text/tokenizer.h"

namespace cairn::api {

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
struct Model {
  const Tokenizer* tokenizer = nullptr;
  std::size_t context = 0;  // tokens; 0: a prompt is encoded however long it is
  ChatTemplate chat_template = ChatFamily::kPlain;
  jinja::Dict chat_kwargs{};  // names for the template where a request's chat_template_kwargs does not set them
  std::string name;           // as clients ask for it
  RequestPolicies policies{};
  // Where a request says nothing. Those of OpenAI: draw from the model's own distribution.
  SamplerOptions sampler{.temperature = 1.0F, .top_k = 0, .top_p = 1.0F, .min_p = 0.0F};
};

struct CompletionRequest {
  bool chat = false;
  bool stream = false;
  bool include_usage = false;       // as the last chunk of a stream
  std::vector<std::string> echo{};  // one per prompt, to stand before the answers; or empty
  bool doubled_bos = false;         // a prompt brought the begin token that it gets anyway: one is kept
  bool seeded = false;              // else every choice draws a seed of its own
  std::size_t choices = 1;          // per prompt
  std::vector<std::vector<TokenId>> prompts{};
  GenerateRequest each{};  // all but id, tenant, prompt and seed
};

// `answered`: the prompt ends with the opening of the assistant's turn.
ApiResult<CompletionRequest> parse_chat_request(std::string_view body, const Model& model, bool answered = true);
ApiResult<CompletionRequest> parse_completion_request(std::string_view body, const Model& model);

// One per choice, in the order of `index`; ids get "-INDEX" behind them where there are several.
std::vector<GenerateRequest> generate_requests(CompletionRequest& request, const std::string& id,
                                               const std::string& tenant, std::uint64_t random_seed);

// What the bodies of requests begin with, for every tenant to hold (hold_prefixes): a body with "messages" is a chat,
// another one a completion, and all its prompts count. So the tokens are those that a client's request begins with.
// Errors: kInvalidArgument, beginning with `name`, for what the API would refuse and for prompts that fill no block.
Result<std::vector<std::vector<TokenId>>> parse_public_prefix(std::string_view body, const std::string& name,
                                                              const Model& model);
// The same for the bodies in files. Errors: those of read_file too.
Result<std::vector<std::vector<TokenId>>> read_public_prefixes(const std::vector<std::string>& paths,
                                                               const Model& model);

// 404 unless it is the served one, "default" or empty.
ApiResult<void> check_model(const Fields& fields, const Model& model);
// Refuses a text of that many bytes, before it is encoded, where it must have more tokens than the context holds.
ApiResult<void> check_prompt_bytes(std::size_t bytes, const Model& model);
// Everything that both endpoints have; see request_fields.cc.
ApiResult<void> read_common_fields(const Fields& fields, const Model& model, CompletionRequest& request);
// Each must be within the vocabulary.
ApiResult<std::vector<TokenId>> read_token_ids(const Json& array, const std::string& path, const Tokenizer& tokenizer);

}  // namespace cairn::api

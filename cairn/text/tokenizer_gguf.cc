// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include "cairn/gguf/gguf.h"
#include "cairn/text/tokenizer.h"

namespace cairn {
namespace {

template <class T>
Result<std::optional<T>> get_if_present(const GgufFile& file, std::string_view key) {
  if (file.find(key) == nullptr) return std::optional<T>();
  CAIRN_TRY(T value, file.get<T>(key));
  return std::optional<T>(std::move(value));
}

// Converters write -1 or its unsigned form where a model has no such token.
Result<std::optional<TokenId>> get_id(const GgufFile& file, std::string_view key) {
  CAIRN_TRY(const auto id, get_if_present<std::int64_t>(file, key));
  if (!id || *id == -1 || *id == std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  if (*id < 0 || *id > std::numeric_limits<TokenId>::max()) {
    return fail(ErrorCode::kCorrupt, std::string(key) + " is " + std::to_string(*id) + ", which no token id can be");
  }
  return static_cast<TokenId>(*id);
}

Result<std::vector<std::string>> get_texts(const GgufFile& file, std::string_view key) {
  CAIRN_TRY(const auto views, file.get_or<std::vector<std::string_view>>(key, {}));
  return std::vector<std::string>(views.begin(), views.end());
}

}  // namespace

Result<TokenizerData> read_tokenizer_data(const GgufFile& file) {
  TokenizerData data;
  CAIRN_TRY(data.model, file.get_or<std::string>("tokenizer.ggml.model", ""));
  CAIRN_TRY(data.pre, file.get_or<std::string>("tokenizer.ggml.pre", ""));
  CAIRN_TRY(data.tokens, get_texts(file, "tokenizer.ggml.tokens"));
  CAIRN_TRY(data.scores, file.get_or<std::vector<float>>("tokenizer.ggml.scores", {}));
  CAIRN_TRY(data.types, file.get_or<std::vector<std::int32_t>>("tokenizer.ggml.token_type", {}));
  CAIRN_TRY(data.merges, get_texts(file, "tokenizer.ggml.merges"));
  CAIRN_TRY(data.bos_token_id, get_id(file, "tokenizer.ggml.bos_token_id"));
  CAIRN_TRY(data.eos_token_id, get_id(file, "tokenizer.ggml.eos_token_id"));
  CAIRN_TRY(data.eot_token_id, get_id(file, "tokenizer.ggml.eot_token_id"));
  CAIRN_TRY(data.unknown_token_id, get_id(file, "tokenizer.ggml.unknown_token_id"));
  CAIRN_TRY(data.add_bos_token, get_if_present<bool>(file, "tokenizer.ggml.add_bos_token"));
  CAIRN_TRY(data.add_eos_token, get_if_present<bool>(file, "tokenizer.ggml.add_eos_token"));
  CAIRN_TRY(data.add_space_prefix, get_if_present<bool>(file, "tokenizer.ggml.add_space_prefix"));
  return data;
}

}  // namespace cairn

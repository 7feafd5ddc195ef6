// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/vocabulary.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include "cairn/base/utf8.h"
#include "cairn/gguf/gguf.h"

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

namespace cairn::text {
namespace {

// Files often name only one end token, so these are known by their text, whatever type the file gives them.
constexpr std::array<std::string_view, 14> kEndTexts = {
    "<|eot_id|>",      "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>",   "<|endoftext|>",
    "<|end_of_text|>", "<|eom_id|>", "<EOT>",   "_<EOT>",     "[EOT]",    "<|end_of_turn|>", "<end_of_utterance>"};

// In Harmony, the format of gpt-oss, <|end|> closes one message of several (an analysis, then the answer); what ends a
// turn are the other two.
bool is_harmony(const TokenizerData& data) {
  const auto has = [&](std::string_view text) { return std::ranges::find(data.tokens, text) != data.tokens.end(); };
  return has("<|return|>") && has("<|call|>");
}

// Turn marks that some converters wrongly call user-defined: text of a user must not become one of them.
constexpr std::array<std::string_view, 8> kMarkTexts = {
    "<|im_start|>", "<|start_header_id|>", "<|end_header_id|>", "[INST]", "[/INST]",
    "<|user|>",     "<|assistant|>",       "<|system|>"};

bool is_one_of(std::string_view text, auto& list) {
  return std::ranges::find(list, text) != list.end();
}

std::optional<std::uint8_t> byte_of(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  std::uint8_t value = 0;
  const auto [end, error] = std::from_chars(text.data() + 3, text.data() + 5, value, 16);
  if (error != std::errc() || end != text.data() + 5) return std::nullopt;
  return value;
}

std::unexpected<Error> corrupt(std::string_view key, const std::string& what) {
  return fail(ErrorCode::kCorrupt, "tokenizer.ggml." + std::string(key) + " " + what +
                                       ": the model file is damaged or badly converted, get it again");
}

Status check_id(std::string_view key, std::optional<TokenId> id, std::size_t size) {
  if (!id || (*id >= 0 && static_cast<std::size_t>(*id) < size)) return {};
  return corrupt(key, "is " + std::to_string(*id) + ", but there are only " + std::to_string(size) + " tokens");
}

Status check(const TokenizerData& data) {
  const std::size_t size = data.tokens.size();
  if (size == 0) return corrupt("tokens", "is missing or empty");
  if (!data.types.empty() && data.types.size() != size) {
    return corrupt("token_type",
                   "has " + std::to_string(data.types.size()) + " entries for " + std::to_string(size) + " tokens");
  }
  for (std::size_t i = 0; i < data.types.size(); ++i) {
    if (data.types[i] < 1 || data.types[i] > 6) {
      return corrupt("token_type",
                     "says " + std::to_string(data.types[i]) + " for token " + std::to_string(i) + " (known: 1 to 6)");
    }
  }
  CAIRN_TRY_VOID(check_id("bos_token_id", data.bos_token_id, size));
  CAIRN_TRY_VOID(check_id("eos_token_id", data.eos_token_id, size));
  CAIRN_TRY_VOID(check_id("eot_token_id", data.eot_token_id, size));
  CAIRN_TRY_VOID(check_id("unknown_token_id", data.unknown_token_id, size));
  if (data.add_bos_token.value_or(false) && !data.bos_token_id) {
    return corrupt("bos_token_id", "is missing although add_bos_token asks for it");
  }
  if (data.add_eos_token.value_or(false) && !data.eos_token_id) {
    return corrupt("eos_token_id", "is missing although add_eos_token asks for it");
  }
  return {};
}

TokenType guessed_type(const TokenizerData& data, TokenId id) {
  if (id == data.unknown_token_id) return TokenType::kUnknown;
  if (id == data.bos_token_id || id == data.eos_token_id || id == data.eot_token_id) return TokenType::kControl;
  return data.model == "llama" && byte_of(data.tokens[id]) ? TokenType::kByte : TokenType::kNormal;
}

TokenType effective_type(const TokenizerData& data, TokenId id) {
  const TokenType type = data.types.empty() ? guessed_type(data, id) : static_cast<TokenType>(data.types[id]);
  if (is_one_of(data.tokens[id], kEndTexts)) return TokenType::kControl;
  const bool marks = is_one_of(data.tokens[id], kMarkTexts) || id == data.bos_token_id || id == data.eos_token_id ||
                     id == data.eot_token_id;
  return type == TokenType::kUserDefined && marks ? TokenType::kControl : type;
}

}  // namespace

Result<Vocabulary> Vocabulary::make(TokenizerData& data, std::string (*raw_bytes)(std::string_view),
                                    bool adds_bos_by_default) {
  CAIRN_TRY_VOID(check(data));
  const auto size = static_cast<TokenId>(data.tokens.size());
  Vocabulary v;
  v.types_.reserve(size);
  v.bytes_.reserve(size);
  v.ends_generation_.resize(size);
  const bool harmony = is_harmony(data);
  for (TokenId id = 0; id < size; ++id) {
    const std::string& text = data.tokens[id];
    const TokenType type = effective_type(data, id);
    v.types_.push_back(type);
    const bool known_end = is_one_of(text, kEndTexts) && !(harmony && text == "<|end|>");
    v.ends_generation_[id] = id == data.eos_token_id || id == data.eot_token_id || known_end;
    std::string bytes;
    if (type == TokenType::kByte) {
      const auto byte = byte_of(text);
      if (!byte) return corrupt("tokens", "has a byte token " + std::to_string(id) + " that is not written <0xXX>");
      bytes = static_cast<char>(*byte);
    } else if (type == TokenType::kUnknown) {
      bytes = kReplacementCharacter;
    } else if (type == TokenType::kUserDefined) {
      bytes = text;
    } else if (type != TokenType::kControl) {
      bytes = raw_bytes(text);
    }
    v.bytes_.push_back(std::move(bytes));
  }
  v.texts_ = std::move(data.tokens);
  for (TokenId id = 0; id < size; ++id) {
    v.longest_ = std::max({v.longest_, v.bytes_[id].size(), v.is_special(id) ? v.texts_[id].size() : 0});
    const bool can_merge = v.types_[id] == TokenType::kNormal || v.types_[id] == TokenType::kUserDefined ||
                           v.types_[id] == TokenType::kUnused;
    if (can_merge && !v.bytes_[id].empty()) v.by_bytes_.try_emplace(v.bytes_[id], id);
    if (v.is_special(id) && !v.texts_[id].empty()) {
      v.specials_.push_back(id);
      v.special_by_text_.try_emplace(v.texts_[id], id);
    }
  }
  std::ranges::stable_sort(v.specials_, std::greater(), [&](TokenId id) { return v.texts_[id].size(); });
  v.bos_ = data.bos_token_id;
  v.eos_ = data.eos_token_id;
  v.unknown_ = data.unknown_token_id;
  v.adds_bos_ = v.bos_ && data.add_bos_token.value_or(adds_bos_by_default);
  v.adds_eos_ = data.add_eos_token.value_or(false);
  return v;
}

bool Vocabulary::is_special(TokenId id) const {
  return contains(id) && (types_[id] == TokenType::kControl || types_[id] == TokenType::kUnknown ||
                          types_[id] == TokenType::kUserDefined);
}

std::optional<TokenId> Vocabulary::find(std::string_view bytes) const {
  const auto it = by_bytes_.find(bytes);
  return it == by_bytes_.end() ? std::nullopt : std::optional(it->second);
}

std::optional<TokenId> Vocabulary::special(std::string_view text) const {
  const auto it = special_by_text_.find(text);
  return it == special_by_text_.end() ? std::nullopt : std::optional(it->second);
}

}  // namespace cairn::text

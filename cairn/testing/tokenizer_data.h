// SPDX-License-Identifier: Apache-2.0
// Hand-made vocabularies of both tokenizer families; those of any_text() meet them.
#pragma once

#include <algorithm>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cairn/text/tokenizer.h"

namespace cairn::testing {

inline void add_token(TokenizerData& data, const std::string& text, TokenType type, float score = 0) {
  data.tokens.push_back(text);
  data.types.push_back(static_cast<std::int32_t>(type));
  if (data.model == "llama") data.scores.push_back(score);
}

// Nothing but the unknown token, 0.
inline TokenizerData empty_spm_data() {
  TokenizerData data;
  data.model = "llama";
  data.unknown_token_id = 0;
  add_token(data, "<unk>", TokenType::kUnknown);
  return data;
}

// 0 <unk>, 1 <s>, 2 </s>, 3..258 bytes, then the words below with falling scores, then special tokens.
inline TokenizerData spm_data() {
  TokenizerData data = empty_spm_data();
  data.bos_token_id = 1;
  data.eos_token_id = 2;
  add_token(data, "<s>", TokenType::kControl);
  add_token(data, "</s>", TokenType::kControl);
  for (int byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof(text), "<0x%02X>", byte);
    add_token(data, text, TokenType::kByte);
  }
  float score = -1;
  for (const char* word : {"he", "ll", "llo", "▁he", "▁hello", "aa", "▁", "<s", "h", "e", "l", "o", "a",
                           "<",  "s",  ">",   "w",   "é",      "▁w", "/", "I",  "N", "S", "T", "[", "]"}) {
    add_token(data, word, TokenType::kNormal, score--);
  }
  for (const char* mark : {"[INST]", "[/INST]", "<|im_start|>", "<|im_end|>"}) {
    add_token(data, mark, TokenType::kControl);
  }
  for (const char* mark : {"<tool>", "<tool>>", "ool>he"}) add_token(data, mark, TokenType::kUserDefined);
  return data;
}

// 0..255 bytes in value order, then one token per merge, then "xyz" (reached by no merge), then special tokens.
inline TokenizerData bpe_data(const std::string& pre = "llama-bpe") {
  TokenizerData data;
  data.model = "gpt2";
  data.pre = pre;
  std::vector<std::string> alphabet;
  char32_t next = 256;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool shown = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
    alphabet.push_back(utf8_encode(shown ? byte : next++));
    add_token(data, alphabet.back(), TokenType::kNormal);
  }
  const std::pair<const char*, const char*> rules[] = {{"h", "e"},     {"l", "l"}, {"he", "ll"}, {"hell", "o"},
                                                       {"Ġ", "hello"}, {"a", "a"}, {"1", "2"},   {"12", "3"},
                                                       {"'", "s"},     {"Ċ", "Ċ"}, {"Ã", "©"},   {"Ġ", "Ġ"}};
  for (const auto& [left, right] : rules) {
    data.merges.push_back(std::string(left) + " " + right);
    add_token(data, std::string(left) + right, TokenType::kNormal);
  }
  add_token(data, "xyz", TokenType::kNormal);
  data.bos_token_id = static_cast<TokenId>(data.tokens.size());
  data.eos_token_id = *data.bos_token_id + 1;
  for (const char* mark : {"<|begin_of_text|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>",
                           "<|end_header_id|>", "<|eot_id|>"}) {
    add_token(data, mark, TokenType::kControl);
  }
  for (const char* mark : {"<tool>", "<tool>\n"}) add_token(data, mark, TokenType::kUserDefined);
  return data;
}

inline std::unique_ptr<const Tokenizer> must_make(TokenizerData data) {
  auto made = make_tokenizer(std::move(data));
  if (!made) throw std::runtime_error(made.error().message);
  return *std::move(made);
}

// The ids of tokens as the vocabulary writes them (for byte-level BPE, Ġ is a space and Ċ a line break).
inline std::vector<TokenId> ids_of(const TokenizerData& data, const std::vector<std::string>& texts) {
  std::vector<TokenId> ids;
  for (const std::string& text : texts) {
    ids.push_back(static_cast<TokenId>(std::ranges::find(data.tokens, text) - data.tokens.begin()));
  }
  return ids;
}

// What a text becomes.
struct Golden {
  const char* text;
  bool parse_special;
  std::vector<std::string> tokens;
};

// Both families, each pre-tokenizer.
inline std::vector<std::shared_ptr<const Tokenizer>> all_tokenizers() {
  TokenizerData no_prefix = spm_data();
  no_prefix.add_space_prefix = false;
  std::vector<std::shared_ptr<const Tokenizer>> all = {must_make(spm_data()), must_make(std::move(no_prefix))};
  for (const char* pre : {"llama-bpe", "qwen2", "gpt-2", "smollm"}) all.push_back(must_make(bpe_data(pre)));
  return all;
}

}  // namespace cairn::testing

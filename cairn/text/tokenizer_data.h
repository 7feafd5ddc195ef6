// SPDX-License-Identifier: Apache-2.0
// What a model file says about its tokenizer, as plain data: nothing is checked here, make_tokenizer() does that.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cairn {

// The index of a token in its vocabulary.
using TokenId = std::int32_t;

// Values of tokenizer.ggml.token_type.
enum class TokenType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,      // stands for what the vocabulary cannot say
  kControl = 3,      // structure (begin, end, turn marks): never comes from text unless the caller allows it
  kUserDefined = 4,  // found in any text before anything else
  kUnused = 5,
  kByte = 6,  // "<0xXX>"
};

// Each field is named after its key under tokenizer.ggml; an absent key is an empty vector, string or optional.
struct TokenizerData {
  std::string model;                // "llama" (SentencePiece-style) or "gpt2" (byte-level BPE)
  std::string pre;                  // pre-tokenizer of gpt2, see pretokenizer.h
  std::vector<std::string> tokens;  // the id is the index
  std::vector<float> scores;        // llama: one per token, the higher is merged first
  std::vector<std::int32_t> types;  // TokenType, one per token; empty: guessed from ids and texts
  std::vector<std::string> merges;  // gpt2: "left right", best first
  std::optional<TokenId> bos_token_id;
  std::optional<TokenId> eos_token_id;
  std::optional<TokenId> eot_token_id;
  std::optional<TokenId> unknown_token_id;
  std::optional<bool> add_bos_token;     // default: llama and the llama-bpe pre-tokenizer do, where there is a bos
  std::optional<bool> add_eos_token;     // default: no
  std::optional<bool> add_space_prefix;  // llama only, default: yes
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// What a model file says about its tokens, and the checked list of them: texts, raw bytes, kinds and special ids.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/tokens.h"

namespace cairn {

// Values of tokenizer.ggml.token_type.
enum class TokenType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,      // stands for what the vocabulary cannot say
  kControl = 3,      // structure (begin, end, turn marks): never comes from text unless the caller allows it
  kUserDefined = 4,  // found in any text before anything else
  kUnused = 5,
  kByte = 6,  // "<0xXX>"
};

// As plain data: nothing is checked here, make_tokenizer() does that.
// Each field is named after its key under tokenizer.ggml; an absent key is an empty vector, string or optional.
struct TokenizerData {
  std::string model;                // "llama" (SentencePiece-style) or "gpt2" (byte-level BPE)
  std::string pre;                  // pre-tokenizer of gpt2, see PreTokenizer
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

class GgufFile;
// The tokenizer.ggml.* metadata of a model file, unchecked but for their types; absent keys stay empty.
// Errors: kCorrupt (a key of the wrong type; the message names it).
Result<TokenizerData> read_tokenizer_data(const GgufFile& file);

}  // namespace cairn

namespace cairn::text {

// Immutable and thread-safe. Views live as long as the vocabulary (moving it keeps them valid).
class Vocabulary {
 public:
  // Takes the token texts out of `data`. `raw_bytes` gives what the text of a normal token stands for, which depends on
  // the family. Errors: kCorrupt with the key's name.
  static Result<Vocabulary> make(TokenizerData& data, std::string (*raw_bytes)(std::string_view),
                                 bool adds_bos_by_default);

  std::size_t size() const { return texts_.size(); }
  bool contains(TokenId id) const { return id >= 0 && static_cast<std::size_t>(id) < texts_.size(); }
  std::string_view text(TokenId id) const { return contains(id) ? texts_[id] : std::string_view(); }
  std::string_view bytes(TokenId id) const { return contains(id) ? bytes_[id] : std::string_view(); }
  TokenType type(TokenId id) const { return types_[id]; }  // Requires: contains(id)
  // Control, unknown or user-defined: found as a whole in a text, never made by merging.
  bool is_special(TokenId id) const;
  bool is_end_of_generation(TokenId id) const { return contains(id) && ends_generation_[id]; }

  // Tokens that raw text may become, by their raw bytes; the lowest id where two are equal.
  std::optional<TokenId> find(std::string_view bytes) const;
  std::optional<TokenId> special(std::string_view text) const;
  const std::vector<TokenId>& specials() const { return specials_; }  // longest text first, then by id
  // No token stands for more bytes of a text, special tokens in their own texts included; at least 1.
  std::size_t longest() const { return longest_; }

  std::optional<TokenId> bos() const { return bos_; }
  std::optional<TokenId> eos() const { return eos_; }
  std::optional<TokenId> unknown() const { return unknown_; }
  bool adds_bos() const { return adds_bos_; }
  bool adds_eos() const { return adds_eos_; }

 private:
  Vocabulary() = default;

  std::vector<std::string> texts_;
  std::vector<std::string> bytes_;
  std::vector<TokenType> types_;
  std::vector<bool> ends_generation_;
  std::vector<TokenId> specials_;
  std::size_t longest_ = 1;
  std::unordered_map<std::string_view, TokenId> by_bytes_;
  std::unordered_map<std::string_view, TokenId> special_by_text_;
  std::optional<TokenId> bos_, eos_, unknown_;
  bool adds_bos_ = false;
  bool adds_eos_ = false;
};

}  // namespace cairn::text

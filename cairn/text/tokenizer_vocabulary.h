// SPDX-License-Identifier: Apache-2.0
// The checked token list of a model: texts, raw bytes, kinds and the special ids. Part of the tokenizer.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/text/tokenizer_data.h"

namespace cairn {

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

}  // namespace cairn

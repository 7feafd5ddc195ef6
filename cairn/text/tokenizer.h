// SPDX-License-Identifier: Apache-2.0
// Text to token ids and back, from the metadata of a model file; ids equal those of llama.cpp.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/base/utf8.h"
#include "cairn/text/text_range.h"
#include "cairn/text/vocabulary.h"

namespace cairn {

struct EncodeOptions {
  // Put the begin (and end) token around the text, if the model wants one. A text that begins with the begin token, and
  // is read so (parse_special), gets no second one.
  bool add_bos = true;
  bool parse_special = false;   // read the texts of control tokens as these tokens; leave it off for text of strangers
  bool continues_text = false;  // the text goes on after other raw text: no space prefix in front of it
  // With parse_special: control tokens are read only where they lie within one of these; sorted, not touching.
  std::optional<std::span<const TextRange>> special_within{};
};

struct DecodeOptions {
  bool show_control = false;    // write the texts of control and unknown tokens
  bool continues_text = false;  // the ids go on after other raw text: a space in front is kept
};

// Any bytes go in, valid UTF-8 or not, and none is lost: decode(encode(x, no bos)) == x as long as the vocabulary has a
// token for every byte (all real ones do; else such a byte becomes the unknown token or U+FFFD).
// The cost is near-linear in the text, whatever the text is. Immutable and thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // An empty text gives no tokens besides begin and end.
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // The exact inverse of encode, space prefixes included. Ids outside the vocabulary decode to nothing.
  std::string decode(std::span<const TokenId> ids, const DecodeOptions& options = {}) const;

  // The raw bytes that a token adds to a text: nothing for control tokens and for ids outside the vocabulary. They need
  // not be whole characters. The view lives as long as the tokenizer.
  std::string_view token_bytes(TokenId id) const { return vocabulary_.bytes(id); }
  // The token as the vocabulary writes it, for people to look at.
  std::string_view token_text(TokenId id) const { return vocabulary_.text(id); }
  // The control, unknown or user-defined token of that text.
  std::optional<TokenId> special_token(std::string_view text) const { return vocabulary_.special(text); }
  bool is_special(TokenId id) const { return vocabulary_.is_special(id); }

  std::size_t size() const { return vocabulary_.size(); }
  // A text of b bytes has at least b / longest_token_bytes() tokens, whatever is in it.
  std::size_t longest_token_bytes() const { return vocabulary_.longest(); }
  std::optional<TokenId> bos() const { return vocabulary_.bos(); }
  std::optional<TokenId> eos() const { return vocabulary_.eos(); }
  bool adds_bos() const { return vocabulary_.adds_bos(); }
  // Raw text at the beginning or after a special token gets one space in front, which decode takes away again.
  bool adds_space_prefix() const { return adds_space_prefix_; }
  // The model has said all it wants to say: eos, end of turn, and the tokens that are known by their text to end one.
  bool is_end_of_generation(TokenId id) const { return vocabulary_.is_end_of_generation(id); }

  // Over everything that decides ids, domain "cairn.tokenizer.v1". Equal digests give equal ids for every text.
  const Digest& digest() const { return digest_; }

 protected:
  Tokenizer(text::Vocabulary vocabulary, const Digest& digest, bool adds_space_prefix)
      : vocabulary_(std::move(vocabulary)), digest_(digest), adds_space_prefix_(adds_space_prefix) {}

  const text::Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  // Appends the tokens of text without special tokens; `text` is not empty.
  virtual void encode_raw(std::string_view text, std::vector<TokenId>& ids) const = 0;

  text::Vocabulary vocabulary_;
  Digest digest_;
  bool adds_space_prefix_;
};

// Decodes ids one by one as a model produces them. The concatenation of all results equals decode() of all ids.
// Keeps a reference to the tokenizer. Thread-compatible.
class TokenStream {
 public:
  explicit TokenStream(const Tokenizer& tokenizer, const DecodeOptions& options = {})
      : tokenizer_(&tokenizer), options_(options), drop_space_(!options.continues_text) {}

  std::string feed(TokenId id) { return utf8_.feed(next_bytes(id)); }
  std::string finish() { return utf8_.finish(); }

 private:
  friend class Tokenizer;
  std::string_view next_bytes(TokenId id);

  const Tokenizer* tokenizer_;
  DecodeOptions options_;
  bool drop_space_;  // the next raw token begins with the space that encode put there
  Utf8Stream utf8_;
};

// Errors: kUnsupported (model or pre-tokenizer unknown; the message lists the known ones), kCorrupt (missing or
// contradicting metadata; the message names the key).
Result<std::unique_ptr<const Tokenizer>> make_tokenizer(TokenizerData data);

}  // namespace cairn

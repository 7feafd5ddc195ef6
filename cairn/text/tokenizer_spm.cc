// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "cairn/text/tokenizer_families.h"

namespace cairn::text {
namespace {

// Vocabularies write a space as U+2581. Texts are matched with spaces instead, so that a real U+2581 in a text is not
// taken for a space: it becomes three byte tokens and survives the round trip.
std::string spaces_for_marks(std::string_view text) {
  constexpr std::string_view kMark = "\xE2\x96\x81";
  std::string bytes;
  while (!text.empty()) {
    const bool mark = text.starts_with(kMark);
    bytes += mark ? ' ' : text[0];
    text.remove_prefix(mark ? kMark.size() : 1);
  }
  return bytes;
}

class SpmTokenizer final : public Tokenizer {
 public:
  SpmTokenizer(Vocabulary words, const Digest& digest, bool adds_space_prefix, std::vector<float> scores,
               const std::array<TokenId, 256>& byte_tokens)
      : Tokenizer(std::move(words), digest, adds_space_prefix), scores_(std::move(scores)), byte_tokens_(byte_tokens) {
    for (TokenId id = 0; vocabulary().contains(id); ++id) {
      longest_ = std::max(longest_, vocabulary().bytes(id).size());
    }
  }

 private:
  void encode_raw(std::string_view text, std::vector<TokenId>& ids) const override {
    std::vector<TextPiece> pieces;
    pieces.reserve(text.size());
    for (std::size_t begin = 0; begin < text.size();) {
      // A byte that is not UTF-8 is a piece of its own.
      const std::size_t length = std::max<std::size_t>(1, utf8_char_length(text.substr(begin)));
      const auto id = vocabulary().find(text.substr(begin, length));
      pieces.push_back({.begin = static_cast<std::uint32_t>(begin),
                        .length = static_cast<std::uint32_t>(length),
                        .id = id.value_or(-1)});
      begin += length;
    }
    merge_pieces(pieces, [&](const TextPiece& left, const TextPiece& right) -> std::optional<PairMerge> {
      const std::size_t length = std::size_t{left.length} + right.length;
      if (length > longest_) return std::nullopt;  // also keeps the cost of the look-up bounded
      const auto id = vocabulary().find(text.substr(left.begin, length));
      if (!id) return std::nullopt;
      return PairMerge{.order = -scores_[*id], .id = *id};
    });
    for (const TextPiece& piece : pieces) {
      if (piece.length == 0) continue;
      if (piece.id >= 0) {
        ids.push_back(piece.id);
        continue;
      }
      for (const char c : text.substr(piece.begin, piece.length)) {
        ids.push_back(byte_tokens_[static_cast<unsigned char>(c)]);
      }
    }
  }

  std::vector<float> scores_;
  std::array<TokenId, 256> byte_tokens_;
  std::size_t longest_ = 0;
};

// The token of each byte: <0xXX>, else a token that is just this byte, else the unknown token.
Result<std::array<TokenId, 256>> find_single_byte_tokens(const Vocabulary& vocabulary) {
  std::array<TokenId, 256> tokens;
  tokens.fill(-1);
  for (TokenId id = 0; vocabulary.contains(id); ++id) {
    if (vocabulary.type(id) == TokenType::kByte) tokens[static_cast<unsigned char>(vocabulary.bytes(id)[0])] = id;
  }
  for (std::size_t byte = 0; byte < tokens.size(); ++byte) {
    if (tokens[byte] >= 0) continue;
    const char text[] = {static_cast<char>(byte)};
    const auto id = vocabulary.find(std::string_view(text, 1));
    if (!id && !vocabulary.unknown()) {
      return fail(ErrorCode::kCorrupt,
                  "tokenizer.ggml.tokens has no token for byte " + std::to_string(byte) +
                      " and tokenizer.ggml.unknown_token_id is missing: get a complete model file");
    }
    tokens[byte] = id ? *id : *vocabulary.unknown();
  }
  return tokens;
}

}  // namespace

Result<std::unique_ptr<const Tokenizer>> make_spm_tokenizer(TokenizerData data) {
  const std::size_t size = data.tokens.size();
  CAIRN_TRY(Vocabulary vocabulary, Vocabulary::make(data, spaces_for_marks, /*adds_bos_by_default=*/true));
  if (data.scores.size() != size) {
    return fail(ErrorCode::kCorrupt, "tokenizer.ggml.scores has " + std::to_string(data.scores.size()) +
                                         " entries for " + std::to_string(size) +
                                         " tokens: the model file is damaged or badly converted, get it again");
  }
  if (std::ranges::any_of(data.scores, [](float score) { return std::isnan(score); })) {
    return fail(ErrorCode::kCorrupt, "tokenizer.ggml.scores holds a value that is not a number: get the file again");
  }
  CAIRN_TRY(const auto byte_tokens, find_single_byte_tokens(vocabulary));
  const bool adds_space_prefix = data.add_space_prefix.value_or(true);
  Hasher hasher = begin_tokenizer_digest("llama", vocabulary);
  hasher.u32(adds_space_prefix);
  for (const float score : data.scores) hasher.u32(std::bit_cast<std::uint32_t>(score));
  return std::make_unique<SpmTokenizer>(std::move(vocabulary), hasher.finish(), adds_space_prefix,
                                        std::move(data.scores), byte_tokens);
}

}  // namespace cairn::text

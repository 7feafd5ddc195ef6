// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/tokenizer_families.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <unordered_map>
#include <utility>

#include "cairn/base/utf8.h"

namespace cairn::text {
namespace {

// Vocabularies write each byte as one printable character: itself where it is visible in Latin-1, else the next free
// code point from U+0100 on.
const std::unordered_map<std::string, char>& byte_of_character() {
  static const auto table = [] {
    std::unordered_map<std::string, char> map;
    char32_t next = 0x100;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool visible = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      map.emplace(utf8_encode(visible ? byte : next), static_cast<char>(byte));
      if (!visible) ++next;
    }
    return map;
  }();
  return table;
}

// A text with a character outside that alphabet is not byte-level and stands for itself.
std::string bytes_of_characters(std::string_view text) {
  const auto& table = byte_of_character();
  std::string bytes;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_char_length(text.substr(i));
    const auto it = table.find(std::string(text.substr(i, length)));
    if (length == 0 || it == table.end()) return std::string(text);
    bytes += it->second;
    i += length;
  }
  return bytes;
}

struct MixHash {
  std::size_t operator()(std::uint64_t key) const {
    key *= 0x9E3779B97F4A7C15u;
    return static_cast<std::size_t>(key ^ (key >> 32));
  }
};

// Merge rules over symbols: a symbol is a token, or (from vocabulary.size() on) a text that only rules know.
class MergeRules {
 public:
  static Result<MergeRules> make(const Vocabulary& vocabulary, const std::vector<std::string>& merges) {
    MergeRules rules;
    std::unordered_map<std::string, TokenId> extra;
    const auto symbol = [&](const std::string& bytes) {
      if (const auto id = vocabulary.find(bytes)) return *id;
      return extra.try_emplace(bytes, static_cast<TokenId>(vocabulary.size() + extra.size())).first->second;
    };
    for (std::size_t i = 0; i < 256; ++i) rules.byte_symbols_[i] = symbol(std::string(1, static_cast<char>(i)));
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
      const std::string& merge = merges[rank];
      const std::size_t space = merge.find(' ', 1);
      if (merge.empty() || space == std::string::npos || space + 1 == merge.size()) {
        return fail(ErrorCode::kCorrupt, "tokenizer.ggml.merges entry " + std::to_string(rank) +
                                             " is not two texts with a space between: get the model file again");
      }
      const std::string left = bytes_of_characters(std::string_view(merge).substr(0, space));
      const std::string right = bytes_of_characters(std::string_view(merge).substr(space + 1));
      rules.merges_.try_emplace(key(symbol(left), symbol(right)),
                                PairMerge{.order = static_cast<double>(rank), .id = symbol(left + right)});
    }
    return rules;
  }

  TokenId byte_symbol(char byte) const { return byte_symbols_[static_cast<unsigned char>(byte)]; }

  std::optional<PairMerge> find(TokenId left, TokenId right) const {
    const auto it = merges_.find(key(left, right));
    return it == merges_.end() ? std::nullopt : std::optional(it->second);
  }

 private:
  static std::uint64_t key(TokenId left, TokenId right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }

  std::array<TokenId, 256> byte_symbols_{};
  std::unordered_map<std::uint64_t, PairMerge, MixHash> merges_;
};

// How each byte is written when no merge applies: its token, else what stands for the unsayable.
using ByteTokens = std::array<std::vector<TokenId>, 256>;

Result<ByteTokens> find_byte_tokens(const Vocabulary& vocabulary) {
  const auto token_of = [&](char byte) { return vocabulary.find(std::string_view(&byte, 1)); };
  std::vector<TokenId> replacement;
  if (vocabulary.unknown()) {
    replacement = {*vocabulary.unknown()};
  } else {
    for (const char byte : kReplacementCharacter) {
      if (const auto id = token_of(byte)) replacement.push_back(*id);
    }
    if (replacement.size() != kReplacementCharacter.size()) replacement.clear();
  }
  ByteTokens tokens;
  for (std::size_t byte = 0; byte < tokens.size(); ++byte) {
    const auto id = token_of(static_cast<char>(byte));
    if (!id && replacement.empty()) {
      return fail(ErrorCode::kCorrupt,
                  "tokenizer.ggml.tokens has no token for byte " + std::to_string(byte) +
                      " and tokenizer.ggml.unknown_token_id is missing: get a complete model file");
    }
    tokens[byte] = id ? std::vector<TokenId>{*id} : replacement;
  }
  return tokens;
}

class BpeTokenizer final : public Tokenizer {
 public:
  BpeTokenizer(Vocabulary words, const Digest& digest, PreTokenizer pre, MergeRules rules, ByteTokens byte_tokens)
      : Tokenizer(std::move(words), digest, /*adds_space_prefix=*/false),
        pre_(std::move(pre)),
        rules_(std::move(rules)),
        byte_tokens_(std::move(byte_tokens)) {}

 private:
  void encode_raw(std::string_view text, std::vector<TokenId>& ids) const override {
    std::vector<TextPiece> pieces;
    for (const std::string_view word : pre_.split(text)) encode_word(word, pieces, ids);
  }

  void encode_word(std::string_view word, std::vector<TextPiece>& pieces, std::vector<TokenId>& ids) const {
    if (pre_.takes_whole_tokens()) {
      if (const auto id = vocabulary().find(word)) {
        ids.push_back(*id);
        return;
      }
    }
    pieces.clear();
    for (std::size_t i = 0; i < word.size(); ++i) {
      pieces.push_back({.begin = static_cast<std::uint32_t>(i), .length = 1, .id = rules_.byte_symbol(word[i])});
    }
    merge_pieces(pieces, [&](const TextPiece& left, const TextPiece& right) { return rules_.find(left.id, right.id); });
    for (const TextPiece& piece : pieces) {
      if (piece.length == 0) continue;
      if (vocabulary().contains(piece.id)) {
        ids.push_back(piece.id);
        continue;
      }
      for (const char c : word.substr(piece.begin, piece.length)) {
        const auto& tokens = byte_tokens_[static_cast<unsigned char>(c)];
        ids.insert(ids.end(), tokens.begin(), tokens.end());
      }
    }
  }

  PreTokenizer pre_;
  MergeRules rules_;
  ByteTokens byte_tokens_;
};

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

Result<std::unique_ptr<const Tokenizer>> make_bpe_tokenizer(TokenizerData data) {
  CAIRN_TRY(PreTokenizer pre, PreTokenizer::make(data.pre));
  CAIRN_TRY(Vocabulary vocabulary, Vocabulary::make(data, bytes_of_characters, pre.adds_bos_by_default()));
  if (data.merges.empty()) {
    return fail(ErrorCode::kCorrupt,
                "tokenizer.ggml.merges is missing or empty: a gpt2 tokenizer needs its merge rules, "
                "get a complete model file");
  }
  CAIRN_TRY(MergeRules rules, MergeRules::make(vocabulary, data.merges));
  CAIRN_TRY(ByteTokens byte_tokens, find_byte_tokens(vocabulary));
  Hasher hasher = begin_tokenizer_digest("gpt2", vocabulary);
  hasher.text(pre.name()).u64(data.merges.size());
  for (const std::string& merge : data.merges) hasher.text(merge);
  return std::make_unique<BpeTokenizer>(std::move(vocabulary), hasher.finish(), std::move(pre), std::move(rules),
                                        std::move(byte_tokens));
}

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

// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/tokenizer.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>
#include <utility>

#include "cairn/text/tokenizer_families.h"

namespace cairn {
namespace {

using text::Vocabulary;

// A stretch of raw text, or the special token that stood there.
struct TextFragment {
  std::string_view text;
  std::optional<TokenId> token;
};

struct Occurrence {
  std::size_t priority = 0;  // index in Vocabulary::specials()
  std::size_t begin = 0;
};

// Whether control tokens may lie there.
bool may_be_control(const EncodeOptions& options, std::size_t begin, std::size_t end) {
  if (!options.special_within) return options.parse_special;
  const auto after = std::ranges::upper_bound(*options.special_within, begin, {}, &TextRange::begin);
  return options.parse_special && after != options.special_within->begin() && std::prev(after)->end >= end;
}

std::vector<Occurrence> find_all(const Vocabulary& vocabulary, std::string_view text, const EncodeOptions& options) {
  const auto& specials = vocabulary.specials();
  std::array<std::vector<std::size_t>, 256> by_first_byte;
  for (std::size_t i = 0; i < specials.size(); ++i) {
    if (!options.parse_special && vocabulary.type(specials[i]) != TokenType::kUserDefined) continue;
    by_first_byte[static_cast<unsigned char>(vocabulary.text(specials[i])[0])].push_back(i);
  }
  std::vector<Occurrence> found;
  for (std::size_t begin = 0; begin < text.size(); ++begin) {
    for (const std::size_t i : by_first_byte[static_cast<unsigned char>(text[begin])]) {
      const std::string_view token = vocabulary.text(specials[i]);
      if (!text.substr(begin).starts_with(token)) continue;
      const bool anywhere = vocabulary.type(specials[i]) == TokenType::kUserDefined;
      if (anywhere || may_be_control(options, begin, begin + token.size())) found.push_back({i, begin});
    }
  }
  return found;
}

// Cuts `text` into fragments that cover it. Longer tokens are found first wherever they stand, then the leftmost; where
// the options allow no control tokens, only user-defined ones count. An empty text has no fragments.
std::vector<TextFragment> split_at_specials(const Vocabulary& vocabulary, std::string_view text,
                                            const EncodeOptions& options) {
  std::vector<Occurrence> found = find_all(vocabulary, text, options);
  std::ranges::sort(found, {}, [](const Occurrence& o) { return std::tuple(o.priority, o.begin); });

  std::map<std::size_t, TokenId> taken;  // begin of a token -> token, never overlapping
  for (const Occurrence& o : found) {
    const TokenId id = vocabulary.specials()[o.priority];
    const auto after = taken.lower_bound(o.begin);
    if (after != taken.end() && after->first < o.begin + vocabulary.text(id).size()) continue;
    if (after != taken.begin()) {
      const auto before = std::prev(after);
      if (before->first + vocabulary.text(before->second).size() > o.begin) continue;
    }
    taken.emplace_hint(after, o.begin, id);
  }

  std::vector<TextFragment> fragments;
  std::size_t end = 0;
  for (const auto& [begin, id] : taken) {
    if (begin > end) fragments.push_back({text.substr(end, begin - end), std::nullopt});
    fragments.push_back({text.substr(begin, vocabulary.text(id).size()), id});
    end = begin + vocabulary.text(id).size();
  }
  if (end < text.size()) fragments.push_back({text.substr(end), std::nullopt});
  return fragments;
}

// Pieces of text are counted in 32 bits; anything longer is cut at a character.
constexpr std::size_t kMaxRunBytes = std::size_t{1} << 30;

struct TokenizerFamily {
  std::string_view name;  // as in tokenizer.ggml.model
  Result<std::unique_ptr<const Tokenizer>> (*make)(TokenizerData data);
};

constexpr TokenizerFamily kTokenizerFamilies[] = {
    {.name = "llama", .make = text::make_spm_tokenizer},
    {.name = "gpt2", .make = text::make_bpe_tokenizer},
};

std::size_t run_length(std::string_view text) {
  if (text.size() <= kMaxRunBytes) return text.size();
  std::size_t length = kMaxRunBytes;
  while (length > kMaxRunBytes - 3 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
  return length;
}

}  // namespace

std::vector<TokenId> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> ids;
  const bool with_bos = options.add_bos && vocabulary_.adds_bos();
  if (with_bos) ids.push_back(*vocabulary_.bos());
  bool prefix_next = with_bos || !options.continues_text, first = true;
  for (const TextFragment& fragment : split_at_specials(vocabulary_, text, options)) {
    // A text that brings the begin token with it does not get a second one.
    const bool again = std::exchange(first, false) && with_bos && fragment.token == vocabulary_.bos();
    if (again) continue;
    if (fragment.token) {
      ids.push_back(*fragment.token);
      prefix_next = true;
      continue;
    }
    std::string prefixed;
    std::string_view raw = fragment.text;
    if (prefix_next && adds_space_prefix_) raw = prefixed = " " + std::string(raw);
    prefix_next = false;
    while (!raw.empty()) {
      const std::size_t length = run_length(raw);
      encode_raw(raw.substr(0, length), ids);
      raw.remove_prefix(length);
    }
  }
  if (options.add_bos && vocabulary_.adds_eos()) ids.push_back(*vocabulary_.eos());
  return ids;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, const DecodeOptions& options) const {
  TokenStream stream(*this, options);
  std::string text;
  for (const TokenId id : ids) text += stream.next_bytes(id);
  return text;
}

std::string_view TokenStream::next_bytes(TokenId id) {
  std::string_view bytes = tokenizer_->token_bytes(id);
  if (tokenizer_->is_special(id)) {
    drop_space_ = true;
    return options_.show_control ? tokenizer_->token_text(id) : bytes;
  }
  if (bytes.empty()) return bytes;
  if (drop_space_ && tokenizer_->adds_space_prefix() && bytes.front() == ' ') bytes.remove_prefix(1);
  drop_space_ = false;
  return bytes;
}

Result<std::unique_ptr<const Tokenizer>> make_tokenizer(TokenizerData data) {
  std::string supported;
  for (const TokenizerFamily& family : kTokenizerFamilies) {
    if (data.model == family.name) return family.make(std::move(data));
    supported += (supported.empty() ? "" : ", ") + std::string(family.name);
  }
  if (data.model.empty()) {
    return fail(ErrorCode::kCorrupt,
                "tokenizer.ggml.model is missing: the file has no tokenizer, get a complete model file");
  }
  return fail(ErrorCode::kUnsupported,
              "tokenizer.ggml.model is \"" + printable_start(data.model, 40) + "\": supported are " + supported);
}

}  // namespace cairn

namespace cairn::text {

Hasher begin_tokenizer_digest(std::string_view family, const Vocabulary& vocabulary) {
  const auto optional_id = [](std::optional<TokenId> id) { return static_cast<std::uint64_t>(id ? *id + 1LL : 0); };
  Hasher hasher("cairn.tokenizer.v1");
  hasher.text(family).u64(vocabulary.size());
  for (TokenId id = 0; vocabulary.contains(id); ++id) {
    hasher.text(vocabulary.text(id)).u32(static_cast<std::uint32_t>(vocabulary.type(id)));
  }
  hasher.u64(optional_id(vocabulary.bos())).u64(optional_id(vocabulary.eos())).u64(optional_id(vocabulary.unknown()));
  hasher.u32(vocabulary.adds_bos()).u32(vocabulary.adds_eos());
  return hasher;
}

}  // namespace cairn::text

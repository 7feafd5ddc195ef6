// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/tokenizer.h"

#include <algorithm>

#include "cairn/text/text_stream.h"
#include "cairn/text/tokenizer_families.h"
#include "cairn/text/tokenizer_special.h"

namespace cairn {
namespace {

// Pieces of text are counted in 32 bits; anything longer is cut at a character.
constexpr std::size_t kMaxRunBytes = std::size_t{1} << 30;

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
  bool prefix_next = with_bos || !options.continues_text;
  for (const TextFragment& fragment : split_at_specials(vocabulary_, text, options.parse_special)) {
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

Result<std::unique_ptr<const Tokenizer>> make_tokenizer(TokenizerData data) {
  if (data.model == "llama") return make_spm_tokenizer(std::move(data));
  if (data.model == "gpt2") return make_bpe_tokenizer(std::move(data));
  if (data.model.empty()) {
    return fail(ErrorCode::kCorrupt,
                "tokenizer.ggml.model is missing: the file has no tokenizer, get a complete model file");
  }
  return fail(ErrorCode::kUnsupported,
              "tokenizer.ggml.model is \"" + printable_start(data.model, 40) + "\": supported are llama, gpt2");
}

}  // namespace cairn

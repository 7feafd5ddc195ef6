// SPDX-License-Identifier: Apache-2.0
#include "cairn/block/block_key.h"

#include <bit>

#include "cairn/base/check.h"

namespace cairn {

static_assert(std::endian::native == std::endian::little, "token ids are hashed as they lie in memory");

Digest chain_root(const Digest& recipe_fingerprint, std::string_view tenant) {
  return Hasher("cairn.recipe.v1").digest(recipe_fingerprint).text(tenant).finish();
}

Digest block_key(const Digest& parent, std::span<const TokenId> tokens) {
  CAIRN_CHECK(tokens.size() == kBlockTokens);
  return Hasher("cairn.block.v1").digest(parent).u64(tokens.size()).bytes(std::as_bytes(tokens)).finish();
}

std::vector<Digest> block_keys(const Digest& root, std::span<const TokenId> tokens) {
  std::vector<Digest> keys;
  keys.reserve(tokens.size() / kBlockTokens);
  for (std::size_t first = 0; first + kBlockTokens <= tokens.size(); first += kBlockTokens) {
    keys.push_back(block_key(keys.empty() ? root : keys.back(), tokens.subspan(first, kBlockTokens)));
  }
  return keys;
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// The identity of a block: a hash chain over everything that decided its bytes. docs/block-identity.md gives the exact
// bytes and test vectors; what they hash to never changes under the same domain name.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/block/shape.h"

namespace cairn {

using TokenId = std::int32_t;

// What the first block of a sequence has as its parent: H("cairn.recipe.v1", recipe, tenant).
// The tenant is any bytes, empty included; it is compared as bytes (no Unicode normalisation).
Digest chain_root(const Digest& recipe_fingerprint, std::string_view tenant);

// H("cairn.block.v1", parent, tokens). Requires: tokens.size() == kBlockTokens; only whole blocks have an identity.
Digest block_key(const Digest& parent, std::span<const TokenId> tokens);

// The keys of the whole blocks of a sequence; what is left over at its end has none.
std::vector<Digest> block_keys(const Digest& root, std::span<const TokenId> tokens);

}  // namespace cairn

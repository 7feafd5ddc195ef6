// SPDX-License-Identifier: Apache-2.0
// The identity of a block: a hash chain over everything that decided its bytes, the recipe and the tokens before it.
// docs/block-identity.md gives the exact bytes and test vectors; what they hash to never changes under the same domain
// name. Functions without state, which may be called from any thread; results refer to nothing that they were given.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/block/shape.h"
#include "cairn/tokens.h"

namespace cairn {

// Everything besides tokens and tenant that decides the bytes of a block. Two caches may exchange blocks exactly when
// their fingerprints are equal.
//
// Texts are canonical: one text for one meaning, since they are compared as bytes. A value.
struct Recipe {
  Digest weights;                // of the model file's tensors
  std::vector<Digest> adapters;  // in the order they are applied
  std::string rope;              // pairing, dims, bases, scaling: all that rotates a key
  Digest tokenizer;              // ids mean nothing without it
  std::uint32_t layers = 0;
  PageShape shape;              // of the first layer
  std::string unlike_layers{};  // how others differ from it (layer_spec.h); empty in most models
  std::string codec_plan;       // K and V codec ids of every layer, as "k1v1*32"
  std::string retention;        // which tokens are kept; "all" without a policy
  std::string arithmetic;       // version of the kernels' rounding, as "int8-g32.v2" or "int8-g32.v2+dense.v1"

  bool operator==(const Recipe&) const = default;
};

// Also binds kBlockTokens. The bytes hashed are in docs/block-identity.md.
Digest recipe_fingerprint(const Recipe& recipe);

// All fields for people, one "name: value" line each; equal texts do not make equal recipes, fingerprints do.
std::string recipe_text(const Recipe& recipe);

// Of two such texts: names the first field that differs, with both values, as "weights: 12ab.. here, 34cd.. there";
// empty when they are equal. Texts of other builds may have other fields.
std::string explain_difference(std::string_view here, std::string_view there);

// What the first block of a sequence has as its parent: H("cairn.recipe.v1", recipe, tenant).
// The tenant is any bytes, empty included; it is compared as bytes (no Unicode normalisation).
Digest chain_root(const Digest& recipe_fingerprint, std::string_view tenant);

// H("cairn.block.v1", parent, tokens). Requires: tokens.size() == kBlockTokens; only whole blocks have an identity.
Digest block_key(const Digest& parent, std::span<const TokenId> tokens);

// The keys of the whole blocks of a sequence; what is left over at its end has none.
// `known` are those of the first blocks, as far as the caller has them.
std::vector<Digest> block_keys(const Digest& root, std::span<const TokenId> tokens, std::span<const Digest> known = {});

}  // namespace cairn

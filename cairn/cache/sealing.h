// SPDX-License-Identifier: Apache-2.0
// What happens to a block of a sequence when it becomes full.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/block/block_key.h"
#include "cairn/cache/cache_core.h"
#include "cairn/cache/layer_table.h"

namespace cairn {

// Whether a full block's tokens stand at the positions that its place in the sequence implies.
bool at_plain_positions(const LayerTable& layer, std::size_t block);

// Offers the block to the prefix index, if there is one. Where an equal block is known
// already, `layers` gets its pages, so that equal blocks are held once.
void index_block(CacheCore& core, const Digest& parent, const Digest& key,
                 std::span<const TokenId, kBlockTokens> tokens, std::vector<LayerTable>& layers, std::size_t block);

// The same for a block that has been computed: a store hears of it too.
void publish_block(CacheCore& core, const Digest& parent, const Digest& key,
                   std::span<const TokenId, kBlockTokens> tokens, std::vector<LayerTable>& layers, std::size_t block);

}  // namespace cairn

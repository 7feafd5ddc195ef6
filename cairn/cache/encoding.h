// SPDX-License-Identifier: Apache-2.0
// Full blocks from their open form to the one that they are kept in, and back.
#pragma once

#include <cstddef>
#include <span>

#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/cache/cache_core.h"
#include "cairn/cache/layer_table.h"

namespace cairn {

// Encodes these full blocks of one layer, indices into its table, with pages from `room`. Blocks that hold what cannot
// be encoded stay as they are and are counted.
void encode_blocks(CacheCore& core, LayerTable& layer, std::span<const std::size_t> blocks, Reservation& room,
                   ThreadPool& pool);

// Replaces the encoded pages of one block by open ones with what they decode to, so that tokens can be written.
void reopen_block(LayerTable& layer, std::size_t block, Reservation& room);

// Whether no value is infinite, not a number, or beyond what an open page can hold.
bool fits_f16(std::span<const float> values);

}  // namespace cairn

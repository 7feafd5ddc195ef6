// SPDX-License-Identifier: Apache-2.0
// Under a policy that reads less, what is not read need not lie in memory: full blocks move to a pool beside the KV
// budget (KvCacheOptions::offload), and a query reads them where they are. After InstInfer (Pan 2024, arXiv
// 2409.04992), with the page cache of the system in place of a drive that computes.
#pragma once

#include <cstddef>

#include "cairn/base/result.h"
#include "cairn/block/page_pool.h"
#include "cairn/cache/sequence_state.h"

namespace cairn::cache {

// After a pass: moves the blocks that will not change any more, where the policy wants it. The pages they lay in lose
// this reference. Where the pool is full or cannot be written the rest stays, which the report counts, and the next
// block border tries again.
void offload_blocks(SequenceState& state);

// A lack of room also names the pool and why it took nothing, where blocks should have moved there and could not.
Error with_offload(const SequenceState& state, Error error);

// Bytes of the pages of one block of a table, or of all, that lie in the pool beside the budget.
std::size_t bytes_offloaded(const SequenceState& state, const LayerTable& table, std::size_t block);
std::size_t bytes_offloaded(const SequenceState& state);

// Moves one block of a table back into memory. Requires: bytes_offloaded() in `room`.
void bring_back(const SequenceState& state, LayerTable& table, std::size_t block, Reservation& room);

}  // namespace cairn::cache

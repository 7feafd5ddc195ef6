// SPDX-License-Identifier: Apache-2.0
// Carries out what a retention keeps of one layer: the survivors of its full blocks move to new pages, in the order of
// their slots, and the old pages lose this reference.
#pragma once

#include <cstddef>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/cache/layer_table.h"
#include "cairn/policy/retention.h"

namespace cairn::cache {

// How many blocks the survivors fill: as many as the KV head with most of them needs. The last may be partly empty.
std::size_t packed_blocks(const LayerKeep& keep);

// Of the budget, for the new pages of a table, some of which keep their open form.
std::size_t packing_bytes(const LayerForms& forms, std::size_t blocks, std::size_t open_blocks);

// Which of the packed blocks keep their open form: the first `sink_blocks` of the table, and those that hold something
// that its codec cannot encode.
std::vector<bool> open_blocks(const LayerTable& table, const LayerKeep& keep, std::size_t first, std::size_t end,
                              std::size_t sink_blocks);

// Packs the entries [first, end), which must be full ones; the others stay. `keep` counts slots from the first entry's,
// `open` is what open_blocks() says of it. Pages are decoded, and where the layer encodes, encoded again. Requires:
// packing_bytes() in `room`; a codec that encodes without signals.
void pack(LayerTable& table, const LayerKeep& keep, std::size_t first, std::size_t end, const std::vector<bool>& open,
          Reservation& room, ThreadPool& pool);

}  // namespace cairn::cache

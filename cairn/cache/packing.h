// SPDX-License-Identifier: Apache-2.0
// Carries out what a retention keeps of one layer: the survivors of its full blocks move to new pages, in the order of
// their slots, and the old pages lose this reference. Under a policy that demotes, the others follow them in pages of
// their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/cache/layer_table.h"
#include "cairn/policy/retention.h"

namespace cairn::cache {

// Packed blocks that have one form, side by side. A value.
struct PackedPart {
  std::uint32_t form = kClosedForm;  // the layer's own for full blocks, or one of those demoted
  bool is_moved = false;             // demoted before: their pages stay as they are
  std::size_t blocks = 0;            // as many as the KV head with most slots needs; the last may be partly empty
  LayerKeep slots = {};              // which old slots they take over, by KV head
};

// What becomes of the full blocks [first, end) of a table. Slots count from the first of these blocks. A value.
struct Packing {
  std::size_t first = 0, end = 0;
  std::vector<PackedPart> parts;  // what stays, what was demoted before, what is demoted now
  // Of the blocks of what stays, those that keep their open form: the first sinks of the table, and those that hold
  // something that its codec cannot encode.
  std::vector<bool> open;

  std::size_t blocks() const;
  // Where each slot of the packed blocks comes from, by KV head or one list for all: [blocks() * kBlockTokens] each,
  // kEmptySlot where nothing comes.
  std::vector<std::vector<std::uint32_t>> sources() const;
};

// Full blocks of a table that a retention packs.
struct PackedRange {
  std::size_t first = 0, end = 0;
  std::size_t sink_blocks = 0;  // of the plan
};

// `keep` counts slots from the first block's too. Tokens that it does not name are demoted to `demoted_form`, or go
// where that is kClosedForm; those that were demoted before stay so. Requires: of a plan that demotes, `keep` names no
// token that was demoted before.
Packing packing_of(const LayerTable& table, const PackedRange& range, const LayerKeep& keep,
                   std::uint32_t demoted_form);

// Of the budget, for `blocks` packed blocks in the layer's own form, some of which keep their open form.
std::size_t packing_bytes(const LayerForms& forms, std::size_t blocks, std::size_t open_blocks);

// Of the budget, for all new pages.
std::size_t packing_bytes(const LayerForms& forms, const Packing& packing);

// Whether the new pages take less than what the packed blocks hold now that is not demoted yet, which comes back.
bool saves_bytes(const LayerTable& table, const Packing& packing);

// Adds to `keep` the tokens of the range that no code can stand for, which cannot be demoted: those that open pages,
// raw ones too, hold with infinities under a KV head. Returns how many blocks they lie in of those that are not closed:
// others were counted when they could not be encoded, in an earlier retention, or, if they come from the prefix index,
// for the sequence that computed them.
std::size_t keep_unencodable(const LayerTable& table, const PackedRange& range, LayerKeep& keep, ThreadPool& pool);

// Carries it out; entries outside stay. Pages are decoded, and where the layer encodes, encoded again. Requires:
// packing_bytes() in `room`; page sizes that are declared; codecs that encode without signals; no token among the
// demoted that no code can stand for.
void pack(LayerTable& table, const Packing& packing, Reservation& room, ThreadPool& pool);

}  // namespace cairn::cache

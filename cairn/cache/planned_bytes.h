// SPDX-License-Identifier: Apache-2.0
// What of the budget a sequence will take on its way, before any of it is computed: what admission goes by. Functions
// without state.
#pragma once

#include <cstddef>

#include "cairn/cache/cache_core.h"
#include "cairn/policy/policy.h"

namespace cairn {

// Bytes of the budget at the worst moment of a growth, by whose pages they are.
struct PlannedBytes {
  std::size_t whole = 0;   // while all tokens are there: blocks of the prompt may be held by others anyway
  std::size_t packed = 0;  // from the first retention on: all its pages are its own
  std::size_t beside = 0;  // not of the budget, but of the place that its blocks move to (PolicySpec::offloads)
};

// A sequence that grows from some tokens to more.
struct PlannedGrowth {
  std::size_t prompt = 0;    // how many of its tokens are the prompt's
  std::size_t from = 0;      // what happened up to here is over
  std::size_t to = 0;        // from < to
  std::size_t rows = 1;      // of a pass, at most
  std::size_t replayed = 0;  // tokens that are computed behind the prompt, and go again before it is packed
};

}  // namespace cairn

namespace cairn::cache {

// The most that one layer takes on the way to `tokens` tokens when nothing of it goes: see KvCache::bytes_for.
std::size_t whole_bytes(const LayerForms& layer, const CodecPlan& plan, std::size_t tokens, std::size_t rows);

// Under a read selection: all of it, and what it chooses by. Under a retention: tokens of a prompt go at each of its
// chunks and at its end, layers pack what stays one after the other, and each needs room for that beside its old pages.
// An upper bound, save for blocks that hold infinities or not-a-numbers (docs/codecs.md): they stay raw, and nobody
// knows of them before. What they take more is found out by the pass that has no room. Rules that give heads different
// budgets count as if the fullest head had all that they may give it. Retentions of an answer are counted on, though
// they are put off where another sequence has taken their room.
PlannedBytes planned_bytes(const CacheCore& core, const PolicySpec& policy, const PlannedGrowth& growth);

}  // namespace cairn::cache

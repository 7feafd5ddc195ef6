// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/offload.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace cairn::cache {
namespace {

// Full blocks that will not change any more and lie in memory; those before moved_blocks do not.
std::vector<std::size_t> blocks_in_memory(const SequenceState& state, const LayerTable& table) {
  std::vector<std::size_t> found;
  const std::size_t end = table.lower_bound(state.closed_blocks);
  for (std::size_t b = table.lower_bound(state.moved_blocks); b < end; ++b) {
    if (!state.core->offload->holds(table.entry(b).keys)) found.push_back(b);
  }
  return found;
}

Result<PageRef> moved(PagePool& pool, const PageRef& page) {
  if (!page) return PageRef();  // values that lie in the keys
  Result<Reservation> room = pool.reserve(page.bytes());
  if (!room) return fail(ErrorCode::kOutOfBudget, std::to_string(pool.budget()) + " bytes are full");
  PageRef copy = room->take(page.bytes(), page.form());
  CAIRN_TRY_VOID(pool.write(copy, {page.data(), page.bytes()}));
  return copy;
}

Status move_block(PagePool& pool, LayerTable& table, std::size_t block) {
  CAIRN_TRY(PageRef keys, moved(pool, table.entry(block).keys));
  CAIRN_TRY(PageRef values, moved(pool, table.entry(block).values));
  table.replace_pages(block, std::move(keys), std::move(values));
  return {};
}

}  // namespace

void offload_blocks(SequenceState& state) {
  if (!state.policy || !state.policy->spec().offloads || state.offered_blocks == state.closed_blocks) return;
  state.offered_blocks = state.closed_blocks;
  Status all;
  for (std::size_t t = 0; t < state.tables.size(); ++t) {
    if (!state.policy->tables()[t].touched) continue;
    Status moved;
    for (const std::size_t block : blocks_in_memory(state, state.tables[t])) {
      moved = move_block(*state.core->offload, state.tables[t], block);
      if (!moved) break;  // pages of another table may be smaller
    }
    if (!moved) all = std::move(moved);
  }
  if (all) {
    state.moved_blocks = state.closed_blocks;
    return;
  }
  PolicyReport& report = state.policy->report();
  ++report.not_offloaded;
  report.why_not_offloaded = state.core->options.offload.text() + ": " + all.error().message;
}

Error with_offload(const SequenceState& state, Error error) {
  const bool stuck = state.moved_blocks < state.offered_blocks && state.policy->report().not_offloaded > 0;
  if (error.code == ErrorCode::kOutOfBudget && stuck) {
    error.message += "; full blocks could not move to " + state.policy->report().why_not_offloaded;
  }
  return error;
}

std::size_t bytes_offloaded(const SequenceState& state, const LayerTable& table, std::size_t block) {
  if (state.core->offload == nullptr) return 0;
  std::size_t bytes = 0;
  for (const PageSlot slot : table.forms().slots()) {
    const PageRef& page = table.entry(block).page(slot);
    if (state.core->offload->holds(page)) bytes += page.bytes();
  }
  return bytes;
}

std::size_t bytes_offloaded(const SequenceState& state) {
  std::size_t bytes = 0;
  for (const LayerTable& table : state.tables) {
    for (std::size_t b = 0; b < table.blocks(); ++b) bytes += bytes_offloaded(state, table, b);
  }
  return bytes;
}

void bring_back(const SequenceState& state, LayerTable& table, std::size_t block, Reservation& room) {
  if (bytes_offloaded(state, table, block) == 0) return;
  const auto here = [&](const PageRef& page) {
    if (!state.core->offload->holds(page)) return page;
    PageRef copy = room.take(page.bytes(), page.form());
    std::copy_n(page.data(), page.bytes(), copy.data());
    return copy;
  };
  table.replace_pages(block, here(table.entry(block).keys), here(table.entry(block).values));
}

}  // namespace cairn::cache

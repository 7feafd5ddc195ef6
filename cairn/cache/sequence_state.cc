// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/sequence_state.h"

#include <algorithm>
#include <utility>

#include "cairn/attention/attend.h"
#include "cairn/base/check.h"
#include "cairn/cache/stored_block.h"

namespace cairn::cache {
namespace {

// Whether a block from the index was not encoded though its layer does.
bool kept_raw(const LayerForms& forms, const PageRef& keys, const PageRef& values) {
  return (forms.keys.closes && keys.form() == kOpenForm) || (forms.values.closes && values.form() == kOpenForm);
}

// Whether a full block's tokens stand at the positions that its place in the sequence implies.
bool at_plain_positions(std::span<const LayerTable> tables, std::size_t block) {
  const auto holds = [&](const LayerTable& table) { return table.find(block * kBlockTokens) != table.blocks(); };
  const auto table = std::ranges::find_if(tables, holds);
  if (table == tables.end()) return false;
  const PositionBlock& positions = *table->entry(table->find(block * kBlockTokens)).positions;
  for (std::size_t t = 0; t < kBlockTokens; ++t) {
    if (positions[t] != static_cast<std::int64_t>(block * kBlockTokens + t)) return false;
  }
  return true;
}

}  // namespace

SequenceState::SequenceState(std::shared_ptr<CacheCore> cache_core)
    : core(std::move(cache_core)), prefilling(core->options.plan.exact_prefill) {
  for (const LayerForms& forms : core->tables) tables.emplace_back(forms);
}

void SequenceState::append_block(const Digest& key, const BlockPages& pages, std::span<const TokenId> block_tokens) {
  const std::size_t first_token = tokens.size();
  const bool is_sink = first_token / kBlockTokens < core->options.plan.sink_blocks;
  const auto positions = std::make_shared<PositionBlock>();
  for (std::uint32_t t = 0; t < kBlockTokens; ++t) (*positions)[t] = static_cast<std::int32_t>(first_token + t);
  for (std::size_t t = 0; t < tables.size(); ++t) {
    const PageRef& keys = pages.page(t, PageSlot::kKeys);
    const PageRef& values = pages.page(t, PageSlot::kValues);
    if (!keys) {
      tables[t].skip_released(static_cast<std::int64_t>(first_token + kBlockTokens));
      continue;
    }
    tables[t].append({.keys = keys,
                      .values = values,
                      .positions = positions,
                      .first_token = first_token,
                      .unencodable = !is_sink && kept_raw(tables[t].forms(), keys, values),
                      .closed = true},
                     kBlockTokens);
  }
  block_keys.push_back(key);
  tokens.insert(tokens.end(), block_tokens.begin(), block_tokens.end());
  closed_blocks = block_keys.size();
}

void SequenceState::shrink(std::size_t num_tokens) {
  for (LayerTable& table : tables) table.shrink(num_tokens);
  moved_blocks = std::min(moved_blocks, num_tokens / kBlockTokens);
}

std::optional<std::int64_t> SequenceState::position_after(std::size_t num_tokens) const {
  for (std::size_t token = num_tokens; token-- > 0;) {
    // Slots of packed blocks are not where their tokens were.
    const auto holds = [=](const LayerTable& table) {
      const std::size_t block = table.find(token);
      return block != table.blocks() && table.entry(block).head_positions == nullptr;
    };
    const auto table = std::ranges::find_if(tables, holds);
    if (table == tables.end()) return std::nullopt;
    const std::int32_t position = (*table->entry(table->find(token)).positions)[token % kBlockTokens];
    if (position != kHiddenPosition) return std::int64_t{position} + 1;
  }
  return 0;
}

void SequenceState::release_behind_windows() {
  const std::optional<std::int64_t> next = position_after(tokens.size());
  if (!next) return;
  for (LayerTable& table : tables) table.release_behind(*next);
}

bool SequenceState::misses(std::span<const std::int32_t> positions) const {
  if (positions.empty()) return false;
  const std::int32_t least = std::ranges::min(positions);
  return std::ranges::any_of(tables, [=](const LayerTable& table) { return table.misses(least); });
}

void SequenceState::own_tail_positions() {
  const LayerTable& first = tables.front();
  if (first.tail_tokens() == 0) return;
  const auto copy = std::make_shared<PositionBlock>(*first.entry(first.blocks() - 1).positions);
  for (LayerTable& table : tables) table.replace_positions(table.blocks() - 1, copy);
}

void SequenceState::distrust_tail() {
  for (const LayerTable& table : tables) {
    if (table.tail_tokens() != 0 && table.entry(table.blocks() - 1).unencodable) leave_its_tokens();
  }
}

std::size_t SequenceState::closing_end(std::size_t num_tokens) const {
  if (prefilling) return closed_blocks;
  const std::size_t full = num_tokens / kBlockTokens, recent = core->options.plan.recent_blocks;
  return std::max(closed_blocks, full - std::min(full, recent));
}

void SequenceState::encode_due(std::size_t t, std::size_t num_tokens, Reservation& room, ThreadPool& pool) {
  LayerTable& table = tables[t];
  if (!table.forms().closes()) return;
  std::vector<std::size_t> due;
  const std::size_t end = closing_end(num_tokens);
  for (std::size_t b = table.lower_bound(std::max<std::size_t>(closed_blocks, core->options.plan.sink_blocks));
       b < table.blocks() && table.entry(b).number() < end; ++b) {
    if (!table.entry(b).closed) due.push_back(b);
  }
  if (!due.empty()) table.close_blocks(due, room, pool, *core);
}

Status SequenceState::encode_prefill(ThreadPool& pool) {
  if (!prefilling) return {};
  prefilling = false;
  const std::size_t end = closing_end(tokens.size());
  const std::size_t first = std::max<std::size_t>(closed_blocks, core->options.plan.sink_blocks);
  std::size_t bytes = 0;
  for (const LayerTable& table : tables) {
    if (first >= end) continue;
    bytes +=
        table.unclosed(first, end) * table.forms().closing_bytes() + (first == 0 ? table.forms().first_extra() : 0);
  }
  Result<Reservation> room = core->make_room(bytes);
  if (!room) {
    prefilling = true;
    return std::unexpected(std::move(room).error());
  }
  for (std::size_t t = 0; t < tables.size(); ++t) {
    encode_due(t, tokens.size(), *room, pool);
    tables[t].let_go_of_open_forms(closed_blocks);
  }
  closed_blocks = end;
  return {};
}

Digest SequenceState::key_of(std::size_t block) const {
  const std::size_t first = block * kBlockTokens;
  const auto own = std::span(tokens).subspan(first, kBlockTokens);
  if (prompt != nullptr && block < prompt->keys.size() &&
      (block == 0 || block_keys[block - 1] == prompt->keys[block - 1]) &&
      std::ranges::equal(own, std::span(prompt->tokens).subspan(first, kBlockTokens))) {
    return prompt->keys[block];
  }
  return block_key(block == 0 ? core->options.root : block_keys[block - 1], own);
}

SealedBlock SequenceState::sealed_block(std::size_t block) const {
  SealedBlock sealed{.parent = block == 0 ? core->options.root : block_keys[block - 1],
                     .key = block_keys[block],
                     .tokens = {},
                     .pages = BlockPages(tables.size())};
  std::ranges::copy(std::span(tokens).subspan(block * kBlockTokens, kBlockTokens), sealed.tokens.begin());
  for (std::size_t t = 0; t < tables.size(); ++t) {
    const std::size_t at = tables[t].find(block * kBlockTokens);
    if (at == tables[t].blocks()) continue;  // behind a window
    sealed.pages.page(t, PageSlot::kKeys) = tables[t].entry(at).keys;
    sealed.pages.page(t, PageSlot::kValues) = tables[t].entry(at).values;
  }
  return sealed;
}

void SequenceState::take_pages_of_index(SealedBlock sealed, std::size_t block) {
  InsertResult result = core->index->insert(core->options.root, std::move(sealed));
  core->hold_index_budget();
  if (result.outcome != InsertOutcome::kDuplicate) return;
  for (std::size_t t = 0; t < tables.size(); ++t) {
    PageRef keys = std::move(result.first_pages.page(t, PageSlot::kKeys));
    const std::size_t at = tables[t].find(block * kBlockTokens);
    if (at == tables[t].blocks() || !keys) continue;
    tables[t].replace_pages(at, std::move(keys), std::move(result.first_pages.page(t, PageSlot::kValues)));
  }
}

void SequenceState::index_block(std::size_t block) {
  if (core->index) take_pages_of_index(sealed_block(block), block);
}

void SequenceState::seal_full_blocks() {
  if (!intact) return;
  for (std::size_t b = block_keys.size(); b < tokens.size() / kBlockTokens; ++b) {
    // A key says nothing of positions, so the first block at other ones ends the chain.
    if (!at_plain_positions(tables, b)) return;
    block_keys.push_back(key_of(b));
    if (!core->index) continue;
    SealedBlock sealed = sealed_block(b);
    // Only new blocks: those that the index knows were written before, or came from the store.
    if (core->options.connector && !core->index->contains(sealed.key)) {
      std::vector<const ColdParts*> cold;
      for (const LayerTable& table : tables) cold.push_back(table.cold_parts(b));
      write_behind(*core, sealed, static_cast<std::uint32_t>(b), cold);
    }
    take_pages_of_index(std::move(sealed), b);
  }
}

}  // namespace cairn::cache

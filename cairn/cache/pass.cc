// SPDX-License-Identifier: Apache-2.0
// How a pass begins and ends; what it computes is in pass_attend.cc.
#include "cairn/cache/pass.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>

#include "cairn/base/check.h"
#include "cairn/cache/offload.h"
#include "cairn/cache/retention.h"

namespace cairn {
namespace {

PageRef copy_page(const PageRef& page, std::size_t page_bytes, Reservation& room) {
  if (!page) return {};  // values that lie in the keys
  PageRef copy = room.take(page_bytes, page.form());
  std::memcpy(copy.data(), page.data(), page_bytes);
  return copy;
}

// What new tokens take: a copy of the tail where others hold it too, new blocks, and the encoded form of blocks
// that become due.
std::size_t growth_bytes(const cache::SequenceState& state, std::size_t num_tokens) {
  const std::size_t first_due = std::max<std::size_t>(state.closed_blocks, state.core->options.plan.sink_blocks);
  const std::size_t end_due = state.closing_end(state.tokens.size() + num_tokens);
  const std::size_t held = state.tokens.size() / kBlockTokens;
  std::size_t bytes = 0;
  for (const cache::LayerTable& table : state.tables) {
    const std::size_t tail = table.tail_tokens();
    const std::size_t blocks = (tail + num_tokens + kBlockTokens - 1) / kBlockTokens;
    bytes += table.forms().open_bytes() * (tail == 0 ? blocks : blocks - (table.owns_tail() ? 1 : 0));
    if (first_due >= end_due || !table.forms().closes()) continue;
    const std::size_t old_end = std::clamp(held, first_due, end_due);
    bytes += table.forms().closing_bytes() * (table.unclosed(first_due, old_end) + end_due - old_end);
    if (first_due == 0) bytes += table.forms().first_extra();
  }
  return bytes;
}

std::size_t tokens_that_fit(const cache::SequenceState& state, std::size_t bytes) {
  std::size_t fit = 0;
  for (std::size_t step = std::size_t{1} << 40; step > 0; step /= 2) {
    if (growth_bytes(state, fit + step) <= bytes) fit += step;
  }
  return fit;
}

void own_tail(cache::SequenceState& state, Reservation& room) {
  for (cache::LayerTable& table : state.tables) {
    if (table.owns_tail()) continue;
    const std::size_t block = table.blocks() - 1;
    table.replace_pages(block, copy_page(table.entry(block).keys, table.forms().keys.open_bytes, room),
                        copy_page(table.entry(block).values, table.forms().values.open_bytes, room));
  }
}

// At the end of every table, at these positions.
void add_slots(cache::SequenceState& state, std::span<const std::int32_t> positions, Reservation& room) {
  if (state.tables.front().tail_tokens() != 0) own_tail(state, room);
  std::size_t done = 0;
  while (done < positions.size()) {
    const cache::LayerTable& first = state.tables.front();
    const std::size_t tail = first.tail_tokens();
    const std::size_t count = std::min(positions.size() - done, kBlockTokens - tail);
    const auto block = tail != 0 ? first.entry(first.blocks() - 1).positions : std::make_shared<cache::PositionBlock>();
    std::ranges::copy(positions.subspan(done, count), block->begin() + static_cast<std::ptrdiff_t>(tail));
    for (cache::LayerTable& table : state.tables) {
      if (tail == 0) {
        const cache::LayerForms& forms = table.forms();
        cache::LayerTable::Entry entry{.keys = room.take(forms.keys.open_bytes, cache::kOpenForm),
                                       .values = {},
                                       .positions = block,
                                       .first_token = state.tokens.size() + done};
        if (forms.values.exists()) entry.values = room.take(forms.values.open_bytes, cache::kOpenForm);
        if (forms.reads_mass()) entry.mass.collect(forms.spec.shape.kv_heads);
        table.append(std::move(entry), static_cast<std::uint32_t>(count));
      } else {
        table.set_tail_count(static_cast<std::uint32_t>(tail + count));
      }
    }
    done += count;
  }
}

bool is_open(const cache::LayerTable& table, std::size_t token) {
  const std::size_t block = table.find(token);
  return block < table.blocks() && std::ranges::all_of(table.forms().slots(), [&](PageSlot slot) {
           return table.entry(block).page(slot).form() == cache::kOpenForm;
         });
}

bool all_closed(const cache::LayerTable& table, std::size_t first, std::size_t end) {
  if (!table.forms().closes()) return true;
  for (std::size_t b = table.lower_bound(first); b < table.blocks() && table.entry(b).number() < end; ++b) {
    if (!table.entry(b).closed) return false;
  }
  return true;
}

}  // namespace

Result<Pass> PassRunner::begin(std::span<const PassRows> batch) {
  CAIRN_CHECK(parts_.empty());
  Pass pass(this);
  for (const PassRows& rows : batch) CAIRN_TRY_VOID(open_part(rows));
  return pass;
}

Status PassRunner::open_part(const PassRows& rows) {
  cache::SequenceState& state = *rows.sequence->state_;
  if (state.in_pass) {
    return fail(ErrorCode::kInvalidArgument,
                "a pass computes on this sequence already: commit it or let go of it first");
  }
  CAIRN_TRY_VOID(cache::retain_if_owed(state, pool_));
  const std::size_t size = state.tokens.size(), count = rows.positions.size();
  if (state.misses(rows.positions)) {
    return fail(ErrorCode::kUnsupported,
                "rows so far back cannot be computed: a layer with a window has let go of what they see");
  }
  std::vector<std::size_t> rewritten;  // block numbers
  std::size_t num_new = count;
  if (!rows.slots.empty()) {
    CAIRN_TRY(rewritten, check_slots(rows));
    num_new = static_cast<std::size_t>(std::ranges::count_if(rows.slots, [=](std::size_t s) { return s >= size; }));
  }
  std::size_t bytes = num_new > 0 ? growth_bytes(state, num_new) : 0;
  for (const cache::LayerTable& table : state.tables) bytes += rewritten.size() * table.forms().open_bytes();
  Result<Reservation> room = state.core->make_room(bytes);
  if (!room) {
    const PagePool& pool = *state.core->pool;
    const std::size_t most = count > 0 ? count - 1 : 0;
    const std::size_t fit = std::min(tokens_that_fit(state, pool.budget() - pool.bytes_used()), most);
    return fail(ErrorCode::kOutOfBudget, "the KV cache is full: " + std::to_string(fit) + " of " +
                                             std::to_string(count) + " more tokens fit into its " +
                                             std::to_string(pool.budget()) + " bytes; raise the KV cache budget");
  }

  state.in_pass = true;
  parts_.push_back({.sequence = rows.sequence,
                    .first_row = positions_.size(),
                    .num_rows = count,
                    .old_size = size,
                    .num_tokens = size + num_new,
                    .ordered = rows.slots.empty()});
  part_of_.resize(part_of_.size() + count, static_cast<std::uint32_t>(parts_.size() - 1));
  positions_.insert(positions_.end(), rows.positions.begin(), rows.positions.end());
  for (const std::size_t number : rewritten) rewrite_block(number, rows, *room);
  if (rows.slots.empty()) {
    for (std::size_t i = 0; i < count; ++i) slots_.push_back(size + i);
    if (num_new > 0) add_slots(state, rows.positions, *room);
  } else {
    slots_.insert(slots_.end(), rows.slots.begin(), rows.slots.end());
    std::vector<std::int32_t> in_order(num_new);
    for (std::size_t i = 0; i < count; ++i) {
      if (rows.slots[i] >= size) in_order[rows.slots[i] - size] = rows.positions[i];
    }
    if (num_new > 0) add_slots(state, in_order, *room);
  }
  parts_.back().room = *std::move(room);
  return {};
}

Result<std::vector<std::size_t>> PassRunner::check_slots(const PassRows& rows) {
  const cache::SequenceState& state = *rows.sequence->state_;
  const std::size_t size = state.tokens.size();
  std::vector<std::size_t> slots(rows.slots.begin(), rows.slots.end());
  std::ranges::sort(slots);
  const auto first_new = std::ranges::lower_bound(slots, size);
  const bool distinct = std::ranges::adjacent_find(slots) == slots.end();
  const bool follow =
      first_new == slots.end() || slots.back() - size + 1 == static_cast<std::size_t>(slots.end() - first_new);
  if (slots.size() != rows.positions.size() || !distinct || !follow) {
    return fail(ErrorCode::kInvalidArgument,
                "the rows of a pass need a slot each, and new ones follow the sequence's end");
  }
  if (first_new != slots.begin() && rows.sequence->load_state() != LoadState::kNone) {
    return fail(ErrorCode::kInvalidArgument, "tokens cannot be rewritten while blocks are on their way");
  }
  std::vector<std::size_t> numbers;
  if (first_new != slots.begin() && slots.front() < state.packed_tokens) {
    return fail(ErrorCode::kUnsupported, "token " + std::to_string(slots.front()) + " cannot be rewritten: policy '" +
                                             state.policy->spec().text + "' has packed its block");
  }
  if (first_new != slots.begin() && state.policy &&
      (state.policy->counted_from(static_cast<std::int32_t>(slots.front())) || state.policy->remembers_queries())) {
    return fail(ErrorCode::kUnsupported, "token " + std::to_string(slots.front()) + " cannot be rewritten: policy '" +
                                             state.policy->spec().text + "' remembers its query");
  }
  for (auto slot = slots.begin(); slot != first_new; ++slot) {
    for (const cache::LayerTable& table : state.tables) {
      if (is_open(table, *slot)) continue;
      return fail(ErrorCode::kUnsupported, "token " + std::to_string(*slot) +
                                               " cannot be rewritten: some layer has encoded or dropped its block");
    }
    if (numbers.empty() || numbers.back() != *slot / kBlockTokens) numbers.push_back(*slot / kBlockTokens);
  }
  return numbers;
}

// On copies, whether others hold the pages or not, so that the pass can be rolled back.
void PassRunner::rewrite_block(std::size_t number, const PassRows& rows, Reservation& room) {
  cache::SequenceState& state = *rows.sequence->state_;
  const cache::LayerTable& first = state.tables.front();
  const auto positions =
      std::make_shared<cache::PositionBlock>(*first.entry(first.find(number * kBlockTokens)).positions);
  for (std::size_t i = 0; i < rows.slots.size(); ++i) {
    if (rows.slots[i] / kBlockTokens == number) (*positions)[rows.slots[i] % kBlockTokens] = rows.positions[i];
  }
  if (state.policy) {
    state.policy->forget_plan_from(number * kBlockTokens);
    state.policy->forget_from(static_cast<std::int32_t>(number * kBlockTokens), number);
  }
  for (std::size_t t = 0; t < state.tables.size(); ++t) {
    cache::LayerTable& table = state.tables[t];
    const std::size_t block = table.find(number * kBlockTokens);
    const cache::LayerTable::Entry before = table.entry(block);
    rewritten_.push_back({parts_.size() - 1, t, block, table.views()[block].count, before});
    table.replace_pages(block, copy_page(before.keys, table.forms().keys.open_bytes, room),
                        copy_page(before.values, table.forms().values.open_bytes, room));
    table.replace_positions(block, positions);
  }
}

void PassRunner::end() {
  parts_.clear();
  slots_.clear();
  positions_.clear();
  part_of_.clear();
  rewritten_.clear();
}

void PassRunner::roll_back() {
  for (Rewritten& block : rewritten_) {
    cache::SequenceState& state = parts_[block.part].state();
    const auto first_token = static_cast<std::int32_t>(block.before.first_token);
    if (state.policy) state.policy->forget_from(first_token, block.before.number());
    state.tables[block.table].restore(block.block, std::move(block.before), block.count);
  }
  for (const Part& part : parts_) {
    cache::SequenceState& state = part.state();
    state.in_pass = false;
    if (part.num_rows == 0) continue;
    if (state.policy) state.policy->roll_back(static_cast<std::int32_t>(part.old_size), part.old_size / kBlockTokens);
    state.shrink(part.old_size);
    for (cache::LayerTable& table : state.tables) {
      if (!part.attended) break;
      for (std::size_t b = table.lower_bound(state.closed_blocks); b < table.blocks(); ++b) table.undo_close(b);
      if (table.forms().reads_mass()) state.leave_its_tokens();
    }
    state.distrust_tail();
  }
  end();
}

Pass::~Pass() {
  if (runner_ != nullptr) runner_->roll_back();
}

std::size_t Pass::num_rows() const {
  return runner_->positions_.size();
}

Status Pass::commit(std::span<const TokenId> tokens) {
  if (tokens.size() != num_rows()) {
    return fail(ErrorCode::kInvalidArgument, std::to_string(tokens.size()) + " tokens to commit, but the pass has " +
                                                 std::to_string(num_rows()) + " rows: they must be as many");
  }
  PassRunner& runner = *std::exchange(runner_, nullptr);
  for (std::size_t p = 0; p < runner.parts_.size(); ++p) {
    const PassRunner::Part& part = runner.parts_[p];
    runner.commit_part(p, tokens.subspan(part.first_row, part.num_rows));
  }
  runner.end();
  return {};
}

void PassRunner::commit_part(std::size_t number, std::span<const TokenId> tokens) {
  Part& part = parts_[number];
  cache::SequenceState& state = part.state();
  if (part.load() != nullptr && part.load()->state() == LoadState::kJoined) {
    part.load()->finish(state);
    part.sequence->load_.reset();
  }
  state.tokens.resize(part.num_tokens);
  for (std::size_t i = 0; i < tokens.size(); ++i) state.tokens[slots_[part.first_row + i]] = tokens[i];
  for (std::size_t i = 0; state.policy && i < tokens.size(); ++i) {
    const auto slot = static_cast<std::int64_t>(slots_[part.first_row + i]);
    if (positions_[part.first_row + i] != slot) state.by_tokens = false;
  }
  for (Rewritten& block : rewritten_) {
    if (block.part != number) continue;
    const std::size_t first = block.before.number();
    state.leave_its_tokens();
    state.offered_blocks = 0;
    state.moved_blocks = std::min(state.moved_blocks, first);
    state.block_keys.resize(std::min(state.block_keys.size(), first));
    state.reused = std::min(state.reused, first * kBlockTokens);
    block.before = {};
  }
  part.room = {};
  const std::size_t first = state.closed_blocks, end = state.closing_end(part.num_tokens);
  for (cache::LayerTable& table : state.tables) {
    CAIRN_CHECK(
        all_closed(table, std::max<std::size_t>(state.closed_blocks, state.core->options.plan.sink_blocks), end));
    table.let_go_of_open_forms(state.closed_blocks);
  }
  state.closed_blocks = end;
  state.in_pass = false;
  if (state.policy) state.policy->end_pass();
  state.seal_full_blocks();
  for (cache::LayerTable& table : state.tables) table.let_go_of_cold_parts(first);
  state.release_behind_windows();
  cache::retain_if_due(state, pool_);
  cache::offload_blocks(state);
}

}  // namespace cairn

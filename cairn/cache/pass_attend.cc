// SPDX-License-Identifier: Apache-2.0
// What a pass does at one layer: stores rows, encodes what is due, attends, and tells who asked.
#include <algorithm>
#include <numeric>

#include "cairn/base/check.h"
#include "cairn/cache/pass.h"

namespace cairn {

void Pass::append(std::uint32_t layer, const float* k, const float* v, const float* x) {
  PassRunner& runner = *runner_;
  if (runner.parts_.empty()) return;
  const cache::CacheCore& core = *runner.parts_.front().state().core;
  const LayerSpec& spec = core.options.layers[layer];
  if (spec.kv_map != layer) return;
  const std::size_t width = spec.shape.values_per_token(), table = core.table_of[layer];
  runner.pool_.run(num_rows(), [&](std::size_t r, unsigned) {
    const float* own = spec.shape.has_value_pages() ? v + r * width : nullptr;
    runner.parts_[runner.part_of_[r]].state().tables[table].store(runner.slots_[r], k + r * width, own);
  });
  if (runner.listener_ != nullptr && runner.listener_->wants(layer).stored) {
    runner.listener_->stored({.layer = layer,
                              .shape = spec.shape,
                              .positions = runner.positions_,
                              .k = k,
                              .v = spec.shape.has_value_pages() ? v : nullptr,
                              .x = x});
  }
}

bool Pass::needs_all_rows(std::uint32_t layer) const {
  const SignalListener* listener = runner_->listener_;
  return runner_->counts_mass(layer) || runner_->is_observed(layer) ||
         (listener != nullptr && listener->wants(layer).queries);
}

SeenPages Pass::seen(std::uint32_t layer, std::size_t row) const {
  const cache::SequenceState& state = runner_->parts_[runner_->part_of_[row]].state();
  const std::int32_t position = runner_->positions_[row];
  return state.table(layer).seen(runner_->slots_[row] / kBlockTokens, position, position,
                                 state.core->options.plan.recent_blocks);
}

Status Pass::attend(const PassQueries& queries) {
  PassRunner& runner = *runner_;
  if (runner.parts_.empty()) return {};
  const std::uint32_t layer = queries.layer;
  const std::size_t table = runner.parts_.front().state().core->table_of[layer];
  for (PassRunner::Part& part : runner.parts_) {
    if (part.load() != nullptr) CAIRN_TRY_VOID(part.load()->arrive(table, runner.pool_));
  }
  runner.query_positions_.resize(queries.rows.size());
  for (std::size_t i = 0; i < queries.rows.size(); ++i) {
    runner.query_positions_[i] = runner.positions_[queries.rows[i]];
  }
  const SignalRequest wanted = runner.listener_ != nullptr ? runner.listener_->wants(layer) : SignalRequest{};
  const bool counts = runner.counts_mass(layer);
  runner.tells_softmax_ = counts || wanted.softmax || runner.is_observed(layer);
  if (runner.tells_softmax_) runner.softmax_.ensure(queries.rows.size() * runner.heads_ * 2);
  const AttendLayer how = runner.layer_of(queries);
  if (counts) {
    runner.attend_and_count(queries, how);
  } else {
    CAIRN_TRY_VOID(runner.attend_at_once(queries, how));
  }
  if (wanted.queries || wanted.softmax) {
    runner.listener_->attended({.layer = layer,
                                .heads = runner.heads_,
                                .head_dim = how.shape.head_dim,
                                .positions = runner.query_positions_,
                                .q = queries.q,
                                .softmax = wanted.softmax ? runner.softmax_.data() : nullptr});
  }
  return {};
}

bool PassRunner::counts_mass(std::uint32_t layer) const {
  if (parts_.empty()) return false;
  const cache::CacheCore& core = *parts_.front().state().core;
  return core.options.layers[layer].kv_map == layer && core.tables[core.table_of[layer]].reads_mass();
}

// Whether the policy of some sequence looks at queries of this layer.
bool PassRunner::is_observed(std::uint32_t layer) const {
  return std::ranges::any_of(parts_, [=](const Part& part) {
    const cache::SequenceState& state = part.state();
    if (!state.policy) return false;
    const std::size_t table = state.core->table_of[layer];
    return state.policy->observes(table) || state.policy->remembers(table);
  });
}

AttendLayer PassRunner::layer_of(const PassQueries& queries) const {
  const cache::CacheCore& core = *parts_.front().state().core;
  const LayerSpec& spec = core.options.layers[queries.layer];
  const cache::LayerForms& forms = core.tables[core.table_of[queries.layer]];
  return {.shape = spec.shape,
          .heads = heads_,
          .window = spec.window,
          .score_cap = queries.score_cap,
          .sinks = queries.sinks,
          .basis = {.keys = basis_of(forms.keys.closed),
                    .values = forms.values.exists() ? basis_of(forms.values.closed) : Basis()}};
}

// The queries of a part, as indices in queries.rows from `first` on, by slot.
std::span<const std::uint32_t> PassRunner::in_slot_order(const Part& part, const PassQueries& queries,
                                                         std::size_t first) {
  std::size_t end = first;
  while (end < queries.rows.size() && queries.rows[end] < part.first_row + part.num_rows) ++end;
  order_.resize(end - first);
  std::iota(order_.begin(), order_.end(), static_cast<std::uint32_t>(first));
  if (!part.ordered) {
    std::ranges::sort(order_, {}, [&](std::uint32_t i) { return slots_[queries.rows[i]]; });
  }
  return order_;
}

// As many queries from the beginning of `order` as lie side by side and in one block, and on one side of the sequence's
// old end.
AttendRows PassRunner::next_run(const Part& part, const PassQueries& queries, std::span<const std::uint32_t> order,
                                const AttendLayer& how) const {
  const std::uint32_t first = order.front();
  const std::size_t slot = slots_[queries.rows[first]], block = slot / kBlockTokens;
  const cache::SequenceState& state = part.state();
  // Each query of a policy that reads less has pages of its own.
  const bool alone = state.policy && state.policy->selects(state.core->table_of[queries.layer]);
  std::uint32_t count = 1;
  std::int32_t oldest = query_positions_[first], newest = oldest;
  for (; !alone && count < order.size() && order[count] == first + count; ++count) {
    const std::size_t next = slots_[queries.rows[first + count]];
    if (next / kBlockTokens != block || (next < part.old_size) != (slot < part.old_size)) break;
    oldest = std::min(oldest, query_positions_[first + count]);
    newest = std::max(newest, query_positions_[first + count]);
  }
  const SeenPages seen = state.table(queries.layer).seen(block, oldest, newest, state.core->options.plan.recent_blocks);
  const std::size_t width = std::size_t{heads_} * how.shape.head_dim;
  return {.q = queries.q + first * width,
          .positions = query_positions_.data() + first,
          .rows = count,
          .pages = seen.closed,
          .more_pages = seen.open,
          .out = queries.out + std::size_t{first} * heads_ * how.shape.value_dim(),
          .softmax = tells_softmax_ ? softmax_.data() + std::size_t{first} * heads_ * 2 : nullptr,
          .skipped = seen.skipped};
}

void PassRunner::encode_due(Part& part, std::uint32_t layer, std::size_t num_tokens) {
  cache::SequenceState& state = part.state();
  if (state.core->options.layers[layer].kv_map != layer) return;  // done where they are stored
  part.attended = true;
  state.encode_due(state.core->table_of[layer], num_tokens, part.room, pool_);
}

Status PassRunner::attend_at_once(const PassQueries& queries, const AttendLayer& how) {
  attend_rows_.clear();
  attend_parts_.clear();
  std::size_t first = 0, selections = 0;
  for (Part& part : parts_) {
    encode_due(part, queries.layer, part.num_tokens);
    auto order = in_slot_order(part, queries, first);
    first += order.size();
    cache::SequenceState& state = part.state();
    const std::size_t table = state.core->table_of[queries.layer];
    while (!order.empty()) {
      const cache::AskingRow row = {queries.layer, table, slots_[queries.rows[order.front()]], state.block_keys};
      AttendRows& run = attend_rows_.emplace_back(next_run(part, queries, order, how));
      attend_parts_.push_back(&part);
      order = order.subspan(run.rows);
      if (state.policy && state.policy->remembers(table)) state.policy->remember(queries.layer, run, how);
      if (!state.policy || !state.policy->selects(table)) continue;
      if (selections == reads_.size()) reads_.emplace_back();
      CAIRN_TRY(const bool less, state.policy->select(row, run, how, *state.core, pool_, reads_[selections]));
      if (!less) continue;
      ++selections;
      state.intact = false;
    }
  }
  if (!attend_rows_.empty()) attention_.attend(attend_rows_, how, pool_);
  for (std::size_t i = 0; i < attend_rows_.size(); ++i) {
    cache::SequenceState& state = attend_parts_[i]->state();
    const std::size_t table = state.core->table_of[queries.layer];
    if (state.policy && state.policy->observes(table)) {
      state.policy->observe(table, queries.layer, attend_rows_[i], how, pool_);
    }
  }
  return {};
}

// Block by block: what the queries of a block look at decides how it is encoded, and the next block sees that.
void PassRunner::attend_and_count(const PassQueries& queries, const AttendLayer& how) {
  std::size_t first = 0;
  for (Part& part : parts_) {
    auto order = in_slot_order(part, queries, first);
    first += order.size();
    while (!order.empty()) {
      const std::size_t slot = slots_[queries.rows[order.front()]];
      const AttendRows rows = next_run(part, queries, order, how);
      attention_.attend({&rows, 1}, how, pool_);
      if (slot >= part.old_size) count_mass(part, queries.layer, slot, rows, how);
      encode_due(part, queries.layer, slot + rows.rows);
      order = order.subspan(rows.rows);
    }
    encode_due(part, queries.layer, part.num_tokens);
  }
}

// Every query counts for its own block. While earlier blocks wait for their encoding too, probes count for them.
void PassRunner::count_mass(Part& part, std::uint32_t layer, std::size_t slot, const AttendRows& rows,
                            const AttendLayer& how) {
  part.attended = true;
  cache::LayerTable& table = part.state().table(layer);
  const std::size_t own = table.find(slot), width = std::size_t{heads_} * how.shape.head_dim;
  if (!table.entry(own).mass.collecting()) return;
  // Which page of the rows is that of an entry.
  const std::size_t first = table.forms().window == 0 ? 0 : own + rows.skipped - slot / kBlockTokens;
  const auto page = [&](std::size_t entry) -> const PageView& { return rows.page(rows.skipped + entry - first); };
  table.entry(own).mass.add(rows, page(own), how, pool_);
  for (std::uint32_t r = 0; r < rows.rows; ++r) {
    if (!AttentionMass::is_probe(slot + r)) continue;
    AttendRows probe = rows;
    probe.q += r * width;
    probe.positions += r;
    probe.softmax += std::size_t{r} * heads_ * 2;
    probe.rows = 1;
    const std::int32_t visible = oldest_visible(*probe.positions, how.window);
    for (std::size_t p = own; p-- > first && table.entry(p).mass.collecting();) {
      if (page(p).max_position < visible) continue;  // seen by other rows of the run alone
      table.entry(p).mass.add_probe(probe, page(p), how, pool_);
    }
  }
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/layer_attention.h"

#include "cairn/attention/mass.h"

namespace cairn {
namespace {

// Of the queries that come after a block, which is how many ZipCache takes.
constexpr std::size_t kProbeEvery = 10;

AttendLayer layer_of(const LayerRows& rows, std::uint32_t layer, std::uint32_t heads) {
  const LayerForms& forms = rows.sequence->layer_forms(layer);
  const LayerSpec& spec = rows.sequence->layer_spec(layer);
  return {.shape = spec.shape,
          .heads = heads,
          .window = spec.window,
          .basis = {.hadamard_keys = forms.keys.settled.codec->hadamard,
                    .hadamard_values = forms.values.settled.codec->hadamard}};
}

std::size_t q_width(const LayerRows& rows, std::uint32_t layer, std::uint32_t heads) {
  return std::size_t{heads} * rows.sequence->layer_spec(layer).shape.head_dim;
}

}  // namespace

LayerAttention::LayerAttention(std::uint32_t heads, ThreadPool& pool) : heads_(heads), pool_(pool) {}

bool LayerAttention::needs_all_rows(const Sequence& sequence, std::uint32_t layer) {
  return sequence.layer_forms(layer).needs_mass();
}

void LayerAttention::attend(std::uint32_t layer, std::span<const LayerRows> batch) {
  if (batch.empty()) return;
  if (!needs_all_rows(*batch.front().sequence, layer)) return attend_at_once(layer, batch);
  for (const LayerRows& rows : batch) attend_and_count(layer, rows);
}

// The rows from `first` on that lie in its block.
AttendRows LayerAttention::rows_of_block(std::uint32_t layer, const LayerRows& rows, std::size_t first) const {
  const std::size_t block = rows.tokens[first] / kBlockTokens, width = q_width(rows, layer, heads_);
  std::size_t end = first;
  while (end < rows.tokens.size() && rows.tokens[end] / kBlockTokens == block) ++end;
  const SeenPages seen = rows.sequence->seen(layer, rows.tokens[first]);
  return {.q = rows.q + first * width,
          .positions = rows.positions + first,
          .rows = static_cast<std::uint32_t>(end - first),
          .pages = seen.settled,
          .more_pages = seen.open,
          .out = rows.out + first * width};
}

void LayerAttention::attend_at_once(std::uint32_t layer, std::span<const LayerRows> batch) {
  attend_rows_.clear();
  for (const LayerRows& rows : batch) {
    rows.sequence->encode_due(layer, rows.sequence->size() + rows.sequence->reserved(), pool_);
    for (std::size_t first = 0; first < rows.tokens.size(); first += attend_rows_.back().rows) {
      attend_rows_.push_back(rows_of_block(layer, rows, first));
    }
  }
  if (attend_rows_.empty()) return;
  attention_.attend(attend_rows_, layer_of(batch.front(), layer, heads_), pool_);
}

// Block by block: what the queries of a block look at decides how it is encoded, and the next block sees that.
void LayerAttention::attend_and_count(std::uint32_t layer, const LayerRows& rows) {
  const AttendLayer call = layer_of(rows, layer, heads_);
  std::size_t count = 0;
  for (std::size_t first = 0; first < rows.tokens.size(); first += count) {
    AttendRows block = rows_of_block(layer, rows, first);
    count = block.rows;
    block.softmax = softmax_.ensure(count * heads_ * 2);
    attention_.attend({&block, 1}, call, pool_);
    count_mass(layer, call, *rows.sequence, block, rows.tokens[first]);
    rows.sequence->encode_due(layer, rows.tokens[first] + count, pool_);
  }
}

// Every query counts for its own block. While earlier blocks wait for their encoding too, some queries count for them.
void LayerAttention::count_mass(std::uint32_t layer, const AttendLayer& call, Sequence& sequence,
                                const AttendRows& rows, std::size_t first_token) {
  LayerTable::Entry* own = sequence.counting_block(layer, first_token);
  if (own == nullptr) return;
  const std::size_t own_page = rows.page_count() - 1, width = std::size_t{heads_} * call.shape.head_dim;
  add_mass(rows, rows.page(own_page), call, pool_, own->mass.data());
  for (std::uint32_t r = 0; r < rows.rows; ++r) {
    if ((first_token + r) % kProbeEvery != 0) continue;
    AttendRows probe = rows;
    probe.q += r * width;
    probe.positions += r;
    probe.softmax += std::size_t{r} * heads_ * 2;
    probe.rows = 1;
    for (std::size_t p = own_page; p-- > 0;) {
      LayerTable::Entry* earlier = sequence.counting_entry(layer, p);
      if (earlier == nullptr) break;
      add_mass(probe, probe.page(p), call, pool_, earlier->mass.data());
      ++earlier->later_probes;
    }
  }
}

}  // namespace cairn

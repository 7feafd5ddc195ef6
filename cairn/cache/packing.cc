// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/packing.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <utility>

#include "cairn/base/aligned_buffer.h"
#include "cairn/codec/codec.h"

namespace cairn::cache {
namespace {

// One KV head's slots, or those of all.
const std::vector<std::uint32_t>& slots_of(const LayerKeep& keep, std::uint32_t kv_head) {
  return keep.heads[keep.shared() ? 0 : kv_head];
}

// Where slot `at` of the packed layer comes from under one KV head; empty slots repeat the last survivor, so that they
// widen no codec's range, and are hidden.
std::uint32_t source_slot(const std::vector<std::uint32_t>& slots, std::size_t at) {
  return slots.empty() ? 0 : slots[std::min(at, slots.size() - 1)];
}

// All that one slot's pages of some entries decode to, [blocks * kBlockTokens, kv_heads, head_dim].
void decode_all(const LayerTable& table, PageSlot slot, std::size_t first, std::size_t end, float* rows,
                ThreadPool& pool) {
  const PageForms& forms = table.forms().of(slot);
  const std::size_t width = forms.open.shape.values_per_token();
  pool.run(end - first, [&](std::size_t b, unsigned) {
    const PageRef& page = table.entry(first + b).page(slot);
    const PageFormat& format = page.form() == kOpenForm ? forms.open : forms.closed;
    format.codec->decode(format, page.data(), kBlockTokens, rows + b * kBlockTokens * width);
  });
}

// Whether none of these rows of an open page was cut down to what the page can hold, which is how it stores infinities
// and all beyond it; or is no number.
bool is_within(std::span<const float> rows) {
  return std::ranges::all_of(rows, [](float value) { return std::fabs(value) < 65504.0f; });
}

// What an open block holds that could not be encoded: [kBlockTokens, kv_heads] joins `unfit`.
void find_unfit(const LayerTable& table, std::size_t block, std::span<std::uint8_t> unfit) {
  for (const PageSlot slot : table.forms().slots()) {
    const PageForms& forms = table.forms().of(slot);
    const PageRef& page = table.entry(block).page(slot);
    if (!forms.encodes() || page.form() != kOpenForm) continue;
    const std::size_t width = forms.open.shape.values_per_token(), dim = forms.open.shape.head_dim;
    std::vector<float> rows(kBlockTokens * width);
    forms.open.codec->decode(forms.open, page.data(), kBlockTokens, rows.data());
    for (std::size_t i = 0; i < unfit.size(); ++i) {
      if (!is_within(std::span(rows).subspan(i * dim, dim))) unfit[i] = 1;
    }
  }
}

void write_page(const PageForms& forms, const LayerKeep& keep, std::size_t number, const float* rows,
                const PageRef& page) {
  const PageShape shape = forms.open.shape;
  const std::size_t width = shape.values_per_token();
  Scratch<std::byte> scratch;
  const bool encoded = page.form() == kClosedForm && forms.encodes();
  std::byte* open = encoded ? scratch.ensure(forms.open_bytes) : page.data();
  std::vector<float> row(width);
  for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
    for (std::uint32_t h = 0; h < shape.kv_heads; ++h) {
      const std::size_t from = source_slot(slots_of(keep, h), number * kBlockTokens + t);
      std::copy_n(rows + from * width + h * shape.head_dim, shape.head_dim, row.data() + h * shape.head_dim);
    }
    forms.open.codec->store_token(forms.open, open, t, row.data());
  }
  if (encoded) forms.closed.codec->encode(forms.closed, {open, nullptr}, page.data());
}

}  // namespace

std::size_t packed_blocks(const LayerKeep& keep) {
  std::size_t most = 0;
  for (const auto& slots : keep.heads) most = std::max(most, slots.size());
  return (most + kBlockTokens - 1) / kBlockTokens;
}

std::size_t packing_bytes(const LayerForms& forms, std::size_t blocks, std::size_t open_blocks) {
  return open_blocks * forms.open_bytes() + (blocks - open_blocks) * forms.closed_bytes();
}

std::vector<bool> open_blocks(const LayerTable& table, const LayerKeep& keep, std::size_t first, std::size_t end,
                              std::size_t sink_blocks) {
  const LayerForms& forms = table.forms();
  std::vector<bool> open(packed_blocks(keep), !forms.encodes());
  if (!forms.encodes()) return open;
  const std::size_t kv_heads = forms.spec.shape.kv_heads;
  std::vector<std::uint8_t> unfit((end - first) * kBlockTokens * kv_heads);
  bool any = false;
  for (std::size_t b = first; b < end; ++b) {
    // A sink that was found in the prefix index does not say what it holds.
    if (b >= sink_blocks && !table.entry(b).unencodable) continue;
    const std::size_t width = kBlockTokens * kv_heads;
    const std::span<std::uint8_t> own = std::span(unfit).subspan((b - first) * width, width);
    find_unfit(table, b, own);
    any = any || std::ranges::count(own, 1) > 0;
  }
  for (std::size_t b = 0; b < open.size(); ++b) {
    open[b] = first + b < sink_blocks;
    for (std::size_t i = 0; any && !open[b] && i < kBlockTokens * kv_heads; ++i) {
      const auto head = static_cast<std::uint32_t>(i % kv_heads);
      open[b] = unfit[source_slot(slots_of(keep, head), b * kBlockTokens + i / kv_heads) * kv_heads + head] != 0;
    }
  }
  return open;
}

void pack(LayerTable& table, const LayerKeep& keep, std::size_t first, std::size_t end, const std::vector<bool>& open,
          Reservation& room, ThreadPool& pool) {
  const LayerForms& forms = table.forms();
  const std::size_t count = open.size();
  std::vector<LayerTable::Entry> packed(count);
  for (std::size_t b = 0; b < count; ++b) {
    packed[b].first_token = (first + b) * kBlockTokens;
    packed[b].unencodable = forms.encodes() && open[b];  // it is looked at when it is packed again
    packed[b].closed = true;
  }
  Scratch<float> rows;
  for (const PageSlot slot : forms.slots()) {
    const PageForms& page_forms = forms.of(slot);
    decode_all(table, slot, first, end,
               rows.ensure((end - first) * kBlockTokens * page_forms.open.shape.values_per_token()), pool);
    for (std::size_t b = 0; b < count; ++b) {
      const bool is_open = open[b] || !page_forms.encodes();
      PageRef& page = slot == PageSlot::kKeys ? packed[b].keys : packed[b].values;
      page = room.take(is_open ? page_forms.open_bytes : page_forms.closed_bytes, is_open ? kOpenForm : kClosedForm);
    }
    pool.run(count, [&](std::size_t b, unsigned) {
      write_page(page_forms, keep, b, rows.data(), slot == PageSlot::kKeys ? packed[b].keys : packed[b].values);
    });
  }
  table.replace(first, end, std::move(packed), keep.heads);
}

}  // namespace cairn::cache

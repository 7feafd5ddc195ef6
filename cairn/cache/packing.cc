// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/packing.h"

#include <algorithm>
#include <memory>
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

// Whether what an open block holds could be encoded.
bool fits_code(const LayerTable& table, std::size_t block) {
  return std::ranges::all_of(table.forms().slots(), [&](PageSlot slot) {
    const PageForms& forms = table.forms().of(slot);
    const PageRef& page = table.entry(block).page(slot);
    if (!forms.encodes() || page.form() != kOpenForm) return true;
    std::vector<float> rows(kBlockTokens * forms.open.shape.values_per_token());
    forms.open.codec->decode(forms.open, page.data(), kBlockTokens, rows.data());
    return fits_f16(rows);
  });
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

std::size_t packing_bytes(const LayerForms& forms, std::size_t blocks, std::size_t sink_blocks, bool raw) {
  const std::size_t open = raw || !forms.encodes() ? blocks : std::min(blocks, sink_blocks);
  return open * forms.open_bytes() + (blocks - open) * forms.closed_bytes();
}

bool holds_unencodable(const LayerTable& table, std::size_t first, std::size_t end, std::size_t sink_blocks) {
  for (std::size_t b = first; b < end; ++b) {
    if (b < sink_blocks && table.forms().encodes() ? !fits_code(table, b) : table.entry(b).unencodable) return true;
  }
  return false;
}

void pack(LayerTable& table, const LayerKeep& keep, std::size_t first, std::size_t end, std::size_t sink_blocks,
          Reservation& room, ThreadPool& pool) {
  const LayerForms& forms = table.forms();
  const std::size_t count = packed_blocks(keep);
  const bool unencodable = holds_unencodable(table, first, end, sink_blocks);
  std::vector<LayerTable::Entry> packed(count);
  for (std::size_t b = 0; b < count; ++b) {
    packed[b].first_token = (first + b) * kBlockTokens;
    packed[b].unencodable = unencodable;
    packed[b].closed = true;
  }
  Scratch<float> rows;
  for (const PageSlot slot : forms.slots()) {
    const PageForms& page_forms = forms.of(slot);
    decode_all(table, slot, first, end,
               rows.ensure((end - first) * kBlockTokens * page_forms.open.shape.values_per_token()), pool);
    for (std::size_t b = 0; b < count; ++b) {
      const bool open = unencodable || first + b < sink_blocks || !page_forms.encodes();
      PageRef& page = slot == PageSlot::kKeys ? packed[b].keys : packed[b].values;
      page = room.take(open ? page_forms.open_bytes : page_forms.closed_bytes, open ? kOpenForm : kClosedForm);
    }
    pool.run(count, [&](std::size_t b, unsigned) {
      write_page(page_forms, keep, b, rows.data(), slot == PageSlot::kKeys ? packed[b].keys : packed[b].values);
    });
  }
  table.replace(first, end, std::move(packed), keep.heads);
}

}  // namespace cairn::cache

// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/packing.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <utility>

#include "cairn/base/aligned_buffer.h"
#include "cairn/cache/demotion.h"
#include "cairn/codec/codec.h"

namespace cairn::cache {
namespace {

// One KV head's slots, or those of all.
const std::vector<std::uint32_t>& slots_of(const LayerKeep& keep, std::uint32_t kv_head) {
  return keep.heads[keep.shared() ? 0 : kv_head];
}

// Where slot `at` of a part comes from under one KV head; empty slots repeat the last one that is not, so that they
// widen no codec's range, and are hidden.
std::uint32_t source_slot(const std::vector<std::uint32_t>& slots, std::size_t at) {
  return slots.empty() ? 0 : slots[std::min(at, slots.size() - 1)];
}

std::size_t blocks_for(const LayerKeep& keep) {
  std::size_t most = 0;
  for (const auto& slots : keep.heads) most = std::max(most, slots.size());
  return (most + kBlockTokens - 1) / kBlockTokens;
}

// All slots of blocks that were demoted before, empty ones too.
PackedPart moved_part(const LayerTable& table, const Packing& packing, std::size_t lists, std::uint32_t form) {
  std::vector<std::uint32_t> slots;
  for (std::size_t b = packing.first; b < packing.end; ++b) {
    if (!table.entry(b).is_demoted()) continue;
    const std::size_t begin = (b - packing.first) * kBlockTokens;
    for (std::size_t t = 0; t < kBlockTokens; ++t) slots.push_back(static_cast<std::uint32_t>(begin + t));
  }
  return {.form = form,
          .is_moved = true,
          .blocks = slots.size() / kBlockTokens,
          .slots = {.heads = std::vector(lists, std::move(slots))}};
}

// What is there, not demoted, and not kept.
PackedPart demoted_part(const LayerTable& table, const Packing& packing, const LayerKeep& keep, std::uint32_t form) {
  PackedPart part{.form = form, .slots = {}};
  for (std::size_t list = 0; list < keep.heads.size(); ++list) {
    const std::vector<std::uint32_t>& kept = keep.heads[list];
    std::vector<std::uint32_t> rest;
    for (std::size_t b = packing.first; b < packing.end; ++b) {
      const PageView& view = table.views()[b];
      for (std::uint32_t t = 0; t < kBlockTokens && !table.entry(b).is_demoted(); ++t) {
        const auto slot = static_cast<std::uint32_t>((b - packing.first) * kBlockTokens) + t;
        const bool is_there = view.positions[list * view.head_stride + t] != kHiddenPosition;
        if (is_there && !std::ranges::binary_search(kept, slot)) rest.push_back(slot);
      }
    }
    part.slots.heads.push_back(std::move(rest));
  }
  part.blocks = blocks_for(part.slots);
  return part;
}

// All that one slot's pages of some entries decode to, [blocks * kBlockTokens, kv_heads, head_dim]; zeros for those
// that were demoted.
void decode_all(const LayerTable& table, PageSlot slot, std::size_t first, std::size_t end, float* rows,
                ThreadPool& pool) {
  const PageForms& forms = table.forms().of(slot);
  const std::size_t width = forms.open.shape.values_per_token();
  pool.run(end - first, [&](std::size_t b, unsigned) {
    float* const own = rows + b * kBlockTokens * width;
    if (table.entry(first + b).is_demoted()) {
      std::fill_n(own, kBlockTokens * width, 0.0f);
      return;
    }
    const PageRef& page = table.entry(first + b).page(slot);
    const PageFormat& format = forms.format(page.form());
    format.codec->decode(format, page.data(), kBlockTokens, own);
  });
}

// Whether none of these rows of an open page was cut down to what the page can hold, which is how it stores infinities
// and all beyond it; or is no number.
bool is_within(std::span<const float> rows) {
  return std::ranges::all_of(rows, [](float value) { return std::fabs(value) < 65504.0f; });
}

// What open pages of a block hold that could not be encoded: [kBlockTokens, kv_heads] joins `unfit`. Of slots that the
// layer does not encode too, if `raw_too`.
void find_unfit(const LayerTable& table, std::size_t block, bool raw_too, std::span<std::uint8_t> unfit) {
  for (const PageSlot slot : table.forms().slots()) {
    const PageForms& forms = table.forms().of(slot);
    const PageRef& page = table.entry(block).page(slot);
    if (!(raw_too || forms.encodes()) || page.form() != kOpenForm) continue;
    const std::size_t width = forms.open.shape.values_per_token(), dim = forms.open.shape.head_dim;
    std::vector<float> rows(kBlockTokens * width);
    forms.open.codec->decode(forms.open, page.data(), kBlockTokens, rows.data());
    for (std::size_t i = 0; i < unfit.size(); ++i) {
      if (!is_within(std::span(rows).subspan(i * dim, dim))) unfit[i] = 1;
    }
  }
}

// Adds the tokens of a block that are unfit, [kBlockTokens, kv_heads], to what is kept; slots count from `first`.
bool add_unfit(const PageView& view, std::size_t first, std::span<const std::uint8_t> unfit, LayerKeep& keep) {
  const std::size_t kv_heads = unfit.size() / kBlockTokens;
  bool adds = false;
  for (std::size_t list = 0; list < keep.heads.size(); ++list) {
    std::vector<std::uint32_t>& kept = keep.heads[list];
    for (std::size_t t = 0; t < kBlockTokens; ++t) {
      const std::span heads = unfit.subspan(t * kv_heads, kv_heads);
      const bool is_unfit = keep.shared() ? std::ranges::count(heads, 1) > 0 : heads[list] != 0;
      const bool is_there = view.positions[list * view.head_stride + t] != kHiddenPosition;
      const auto slot = static_cast<std::uint32_t>(first + t);
      if (!is_unfit || !is_there || std::ranges::find(kept, slot) != kept.end()) continue;
      kept.push_back(slot);
      adds = true;
    }
  }
  return adds;
}

// Which of the blocks of what stays keep their open form: the first `sink_blocks` of the table, and those that hold
// something that its codec cannot encode.
std::vector<bool> open_blocks(const LayerTable& table, const LayerKeep& keep, std::size_t first, std::size_t end,
                              std::size_t sink_blocks) {
  const LayerForms& forms = table.forms();
  std::vector<bool> open(blocks_for(keep), !forms.encodes());
  if (!forms.encodes()) return open;
  const std::size_t kv_heads = forms.spec.shape.kv_heads;
  std::vector<std::uint8_t> unfit((end - first) * kBlockTokens * kv_heads);
  bool any = false;
  for (std::size_t b = first; b < end; ++b) {
    // A sink that was found in the prefix index does not say what it holds.
    if (b >= sink_blocks && !table.entry(b).unencodable) continue;
    const std::size_t width = kBlockTokens * kv_heads;
    const std::span<std::uint8_t> own = std::span(unfit).subspan((b - first) * width, width);
    find_unfit(table, b, /*raw_too=*/false, own);
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

void write_page(const PageForms& forms, const LayerKeep& slots, std::size_t number, const float* rows,
                const PageRef& page) {
  const PageFormat& format = forms.format(page.form());
  const PageFormat open = open_format(format);
  const PageShape shape = format.shape;
  const std::size_t width = shape.values_per_token();
  Scratch<std::byte> scratch;
  const bool encoded = format.codec->encode != nullptr;
  std::byte* to = encoded ? scratch.ensure(open.codec->page_bytes(open)) : page.data();
  std::vector<float> row(width);
  for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
    for (std::uint32_t h = 0; h < shape.kv_heads; ++h) {
      const std::size_t from = source_slot(slots_of(slots, h), number * kBlockTokens + t);
      std::copy_n(rows + from * width + h * shape.head_dim, shape.head_dim, row.data() + h * shape.head_dim);
    }
    open.codec->store_token(open, to, t, row.data());
  }
  if (encoded) format.codec->encode(format, {to, nullptr}, page.data());
}

// Takes pages of one slot for the blocks of a part that begin with number `number`, and writes them.
void write_part(const LayerTable& table, PageSlot slot, const PackedPart& part, std::size_t number,
                const std::vector<bool>& open, const float* rows, std::span<LayerTable::Entry> packed,
                Reservation& room, ThreadPool& pool) {
  const PageForms& forms = table.forms().of(slot);
  const auto page_of = [&](std::size_t b) -> PageRef& {
    return slot == PageSlot::kKeys ? packed[number + b].keys : packed[number + b].values;
  };
  for (std::size_t b = 0; b < part.blocks; ++b) {
    const bool is_open = part.form == kClosedForm && (open[b] || !forms.encodes());
    const bool is_own = part.form == kClosedForm;
    const std::uint32_t form = is_open  ? kOpenForm
                               : is_own ? forms.closed_form(packed[number + b].number())
                                        : part.form;
    page_of(b) = room.take(forms.page_bytes(form), form);
  }
  pool.run(part.blocks, [&](std::size_t b, unsigned) { write_page(forms, part.slots, b, rows, page_of(b)); });
}

}  // namespace

std::size_t Packing::blocks() const {
  std::size_t count = 0;
  for (const PackedPart& part : parts) count += part.blocks;
  return count;
}

std::vector<std::vector<std::uint32_t>> Packing::sources() const {
  std::vector<std::vector<std::uint32_t>> lists(parts.front().slots.heads.size());
  for (std::size_t list = 0; list < lists.size(); ++list) {
    for (const PackedPart& part : parts) {
      const std::vector<std::uint32_t>& slots = part.slots.heads[list];
      lists[list].insert(lists[list].end(), slots.begin(), slots.end());
      lists[list].resize(lists[list].size() + part.blocks * kBlockTokens - slots.size(), kEmptySlot);
    }
  }
  return lists;
}

Packing packing_of(const LayerTable& table, const PackedRange& range, const LayerKeep& keep,
                   std::uint32_t demoted_form) {
  Packing packing{.first = range.first,
                  .end = range.end,
                  .parts = {{.blocks = blocks_for(keep), .slots = keep}},
                  .open = open_blocks(table, keep, range.first, range.end, range.sink_blocks)};
  if (demoted_form == kClosedForm) return packing;
  packing.parts.push_back(moved_part(table, packing, keep.heads.size(), demoted_form));
  packing.parts.push_back(demoted_part(table, packing, keep, demoted_form));
  return packing;
}

std::size_t packing_bytes(const LayerForms& forms, std::size_t blocks, std::size_t open_blocks) {
  const std::size_t closed = blocks - open_blocks;
  return open_blocks * forms.open_bytes() + closed * forms.closed_bytes() + (closed > 0 ? forms.first_extra() : 0);
}

std::size_t packing_bytes(const LayerForms& forms, const Packing& packing) {
  std::size_t bytes = 0;
  for (const PackedPart& part : packing.parts) {
    if (part.form == kClosedForm) {
      bytes += packing_bytes(forms, part.blocks, static_cast<std::size_t>(std::ranges::count(packing.open, true)));
    } else if (!part.is_moved) {
      bytes += part.blocks * demoted_bytes(forms, part.form);
    }
  }
  return bytes;
}

bool saves_bytes(const LayerTable& table, const Packing& packing) {
  std::size_t bytes = 0;
  for (std::size_t b = packing.first; b < packing.end; ++b) {
    if (table.entry(b).is_demoted()) continue;
    for (const PageSlot slot : table.forms().slots()) bytes += table.entry(b).page(slot).bytes();
  }
  return packing_bytes(table.forms(), packing) < bytes;
}

std::size_t keep_unencodable(const LayerTable& table, const PackedRange& range, LayerKeep& keep, ThreadPool& pool) {
  const std::size_t kv_heads = table.forms().spec.shape.kv_heads, width = kBlockTokens * kv_heads;
  std::vector<std::uint8_t> unfit((range.end - range.first) * width);
  pool.run(range.end - range.first, [&](std::size_t b, unsigned) {
    if (table.entry(range.first + b).is_demoted()) return;
    find_unfit(table, range.first + b, /*raw_too=*/true, std::span(unfit).subspan(b * width, width));
  });
  std::size_t fresh = 0;
  for (std::size_t b = 0; b < range.end - range.first; ++b) {
    const LayerTable::Entry& entry = table.entry(range.first + b);
    const std::span own = std::span(unfit).subspan(b * width, width);
    if (std::ranges::count(own, 1) == 0) continue;
    const bool adds = add_unfit(table.views()[range.first + b], b * kBlockTokens, own, keep);
    fresh += adds && !entry.closed ? 1 : 0;
  }
  for (std::vector<std::uint32_t>& slots : keep.heads) std::ranges::sort(slots);
  return fresh;
}

void pack(LayerTable& table, const Packing& packing, Reservation& room, ThreadPool& pool) {
  const LayerForms& forms = table.forms();
  const std::size_t first = packing.first, end = packing.end, count = packing.blocks();
  std::vector<LayerTable::Entry> packed(count);
  const std::size_t last = table.entry(end - 1).number();
  for (std::size_t b = 0; b < count; ++b) {
    // Two kinds of pages may be more blocks than there were: no number goes beyond theirs.
    packed[b].first_token = std::min(first + b, last) * kBlockTokens;
    packed[b].unencodable = forms.encodes() && b < packing.open.size() && packing.open[b];  // looked at the next time
    packed[b].closed = true;
  }
  Scratch<float> rows;
  for (const PageSlot slot : forms.slots()) {
    const std::size_t width = forms.spec.shape.values_per_token();
    decode_all(table, slot, first, end, rows.ensure((end - first) * kBlockTokens * width), pool);
    std::size_t number = 0;
    for (const PackedPart& part : packing.parts) {
      if (!part.is_moved) write_part(table, slot, part, number, packing.open, rows.data(), packed, room, pool);
      number += part.blocks;
    }
  }
  std::size_t moved = packing.parts.front().blocks;
  for (std::size_t b = first; b < end; ++b) {
    if (!table.entry(b).is_demoted()) continue;
    packed[moved].keys = table.entry(b).keys;
    packed[moved++].values = table.entry(b).values;
  }
  table.replace(first, end, std::move(packed), packing.sources());
}

}  // namespace cairn::cache

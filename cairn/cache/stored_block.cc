// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/stored_block.h"

#include <span>
#include <utility>
#include <vector>

#include "cairn/block/block_key.h"

namespace cairn::cache {
namespace {

constexpr PartMeta kTokensPart{kBlockTokens * sizeof(TokenId), 0};

PartMeta page_part(const PageForms& forms, std::uint32_t form) {
  return {static_cast<std::uint32_t>(forms.page_bytes(form)), form};
}

// A guess of how much smaller cold parts are, until some have been seen.
constexpr std::size_t kColdShare = 8;

bool is_known(const PageForms& forms, const PartMeta& part, std::size_t number, bool cold) {
  if (part.tag == kColdPart) return cold && part.bytes < forms.page_bytes(forms.closed_form(number));
  return (part.tag == kClosedForm || part.tag == kOpenForm || part.tag == kFirstForm) &&
         part == page_part(forms, part.tag);
}

}  // namespace

std::size_t closed_record_bytes(const CacheCore& core, bool encrypted) {
  std::vector<PartMeta> parts = {kTokensPart};
  const std::uint64_t bytes = core.cold_bytes, values = core.cold_values;
  for (const LayerForms& layer : core.tables) {
    for (const PageSlot slot : layer.slots()) {
      PartMeta& part = parts.emplace_back(page_part(layer.of(slot), kClosedForm));
      if (!layer.cold) continue;
      const std::size_t own = kBlockTokens * layer.spec.shape.values_per_token();
      part.bytes = static_cast<std::uint32_t>(values == 0 ? part.bytes / kColdShare : bytes * own / values);
    }
  }
  return BlockRecord::bytes_for(parts, encrypted);
}

bool has_parts_of(const CacheCore& core, const BlockMeta& meta) {
  if (meta.parts.size() != parts_before(core, core.tables.size()) || meta.parts[0] != kTokensPart) return false;
  for (std::size_t t = 0; t < core.tables.size(); ++t) {
    const LayerForms& layer = core.tables[t];
    for (const PageSlot slot : layer.slots()) {
      const PartMeta& part = meta.parts[part_of_page(core, t, slot)];
      if (!is_known(layer.of(slot), part, meta.depth, layer.cold.has_value())) return false;
    }
  }
  return true;
}

std::uint32_t form_of_part(const PageForms& forms, const BlockMeta& meta, std::size_t part) {
  const std::uint32_t tag = meta.parts[part].tag;
  return tag == kColdPart ? forms.closed_form(meta.depth) : tag;
}

std::size_t page_bytes_of(const CacheCore& core, const BlockMeta& meta) {
  std::size_t bytes = 0;
  for (std::size_t t = 0; t < core.tables.size(); ++t) {
    for (const PageSlot slot : core.tables[t].slots()) {
      const PageForms& forms = core.tables[t].of(slot);
      bytes += PagePool::occupied_bytes(forms.page_bytes(form_of_part(forms, meta, part_of_page(core, t, slot))));
    }
  }
  return bytes;
}

void write_behind(const CacheCore& core, const SealedBlock& block, std::uint32_t depth,
                  std::span<const ColdParts* const> cold) {
  BlockMeta meta{.key = block.key, .parent = block.parent, .recipe = {}, .depth = depth};
  meta.parts.push_back(kTokensPart);
  std::vector<std::span<const std::byte>> contents = {std::as_bytes(std::span(block.tokens))};
  for (std::size_t t = 0; t < core.tables.size(); ++t) {
    for (const PageSlot slot : core.tables[t].slots()) {
      const PageRef& page = block.pages.page(t, slot);
      PartMeta& part = meta.parts.emplace_back(page_part(core.tables[t].of(slot), page.form()));
      contents.emplace_back(page.data(), part.bytes);
      if (cold[t] == nullptr) continue;
      const std::vector<std::byte>& bytes = slot == PageSlot::kKeys ? cold[t]->keys : cold[t]->values;
      if (bytes.size() >= part.bytes) continue;
      part = {static_cast<std::uint32_t>(bytes.size()), kColdPart};
      contents.back() = bytes;
    }
  }
  core.options.connector->write(std::move(meta), contents);
}

}  // namespace cairn::cache

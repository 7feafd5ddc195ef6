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

}  // namespace

std::size_t closed_record_bytes(const CacheCore& core, bool encrypted) {
  std::vector<PartMeta> parts = {kTokensPart};
  for (const LayerForms& layer : core.tables) {
    for (const PageSlot slot : layer.slots()) parts.push_back(page_part(layer.of(slot), kClosedForm));
  }
  return BlockRecord::bytes_for(parts, encrypted);
}

bool has_parts_of(const CacheCore& core, const BlockMeta& meta) {
  if (meta.parts.size() != parts_before(core, core.tables.size()) || meta.parts[0] != kTokensPart) return false;
  for (std::size_t t = 0; t < core.tables.size(); ++t) {
    for (const PageSlot slot : core.tables[t].slots()) {
      const PartMeta& part = meta.parts[part_of_page(core, t, slot)];
      const bool known = part.tag == kClosedForm || part.tag == kOpenForm || part.tag == kFirstForm;
      if (!known || part != page_part(core.tables[t].of(slot), part.tag)) return false;
    }
  }
  return true;
}

std::size_t page_bytes_of(const CacheCore& core, const BlockMeta& meta) {
  std::size_t bytes = 0;
  for (std::size_t p = parts_before(core, 0); p < parts_before(core, core.tables.size()); ++p) {
    bytes += PagePool::occupied_bytes(meta.parts[p].bytes);
  }
  return bytes;
}

void write_behind(const CacheCore& core, const SealedBlock& block, std::uint32_t depth) {
  BlockMeta meta{.key = block.key, .parent = block.parent, .recipe = {}, .depth = depth};
  meta.parts.push_back(kTokensPart);
  std::vector<std::span<const std::byte>> contents = {std::as_bytes(std::span(block.tokens))};
  for (std::size_t t = 0; t < core.tables.size(); ++t) {
    for (const PageSlot slot : core.tables[t].slots()) {
      const PageRef& page = block.pages.page(t, slot);
      meta.parts.push_back(page_part(core.tables[t].of(slot), page.form()));
      contents.emplace_back(page.data(), meta.parts.back().bytes);
    }
  }
  core.options.connector->write(std::move(meta), contents);
}

}  // namespace cairn::cache

// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/block_parts.h"

#include <vector>

#include "cairn/block/block_key.h"

namespace cairn {
namespace {

constexpr std::uint32_t kKeysOpen = 1, kValuesOpen = 2;

}  // namespace

std::size_t page_bytes(const SideForms& side, std::uint32_t form) {
  return form == kOpenForm ? side.open_bytes : side.settled_bytes;
}

std::size_t occupied_by(const LayerForms& layer, LayerPartForms forms) {
  return PagePool::occupied_bytes(page_bytes(layer.keys, forms.keys)) +
         PagePool::occupied_bytes(page_bytes(layer.values, forms.values));
}

PartMeta layer_part(const LayerForms& layer, LayerPartForms forms) {
  const std::size_t bytes = page_bytes(layer.keys, forms.keys) + page_bytes(layer.values, forms.values);
  return {static_cast<std::uint32_t>(bytes),
          (forms.keys == kOpenForm ? kKeysOpen : 0) | (forms.values == kOpenForm ? kValuesOpen : 0)};
}

LayerPartForms forms_of_part(const PartMeta& part) {
  return {part.tag & kKeysOpen ? kOpenForm : kSettledForm, part.tag & kValuesOpen ? kOpenForm : kSettledForm};
}

std::size_t settled_record_bytes(const CacheCore& core, bool encrypted) {
  std::vector<PartMeta> parts = {{kBlockTokens * sizeof(TokenId), 0}};
  for (const LayerForms& layer : core.layers) parts.push_back(layer_part(layer, {}));
  return BlockRecord::bytes_for(parts, encrypted);
}

bool has_parts_of(const CacheCore& core, const BlockMeta& meta) {
  if (meta.parts.size() != core.layers.size() + 1) return false;
  if (meta.parts[0].bytes != kBlockTokens * sizeof(TokenId)) return false;
  for (std::size_t l = 0; l < core.layers.size(); ++l) {
    const PartMeta& part = meta.parts[l + 1];
    if ((part.tag & ~(kKeysOpen | kValuesOpen)) != 0 || part != layer_part(core.layers[l], forms_of_part(part))) {
      return false;
    }
  }
  return true;
}

}  // namespace cairn

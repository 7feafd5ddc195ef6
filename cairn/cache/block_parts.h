// SPDX-License-Identifier: Apache-2.0
// How a block's pages lie in a stored record: part 0 is the tokens, part 1 + l is K then V of layer l; a part's tag
// says in which form each is.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cairn/cache/cache_core.h"
#include "cairn/store/record/block_record.h"

namespace cairn {

struct LayerPartForms {
  std::uint32_t keys = kSettledForm;
  std::uint32_t values = kSettledForm;
};

PartMeta layer_part(const LayerForms& layer, LayerPartForms forms);
LayerPartForms forms_of_part(const PartMeta& part);

// As the cache keeps them in these forms.
std::size_t page_bytes(const SideForms& side, std::uint32_t form);
std::size_t occupied_by(const LayerForms& layer, LayerPartForms forms);

// What a block takes in a store when all its pages are settled.
std::size_t settled_record_bytes(const CacheCore& core, bool encrypted);

// Whether a record has exactly the parts that blocks of this cache have: whatever it says, only these are taken.
bool has_parts_of(const CacheCore& core, const BlockMeta& meta);

}  // namespace cairn

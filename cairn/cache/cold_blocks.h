// SPDX-License-Identifier: Apache-2.0
// Blocks on their way through a cold form (codec/cold_form.h): out, when they are sealed, and in, when they come from a
// store. Functions without state; thread-safe for distinct pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "cairn/cache/cache_core.h"
#include "cairn/cache/layer_table.h"

namespace cairn::cache {

// Writes the closed pages of a full open block: what its cold form decodes to, as the layer's codecs hold it. Requires:
// forms.cold; pages of the closed form that fits the block's number; nothing in the block that cannot be encoded.
std::shared_ptr<const ColdParts> pass_through(const LayerForms& forms, const LayerTable::Entry& entry,
                                              const PageRef& keys, const PageRef& values);

// Writes the closed page of one slot of the block with this number, which lies at plain positions, from its part in a
// store. False for bytes that no block gave. Requires: forms.cold.
bool read_cold_part(const LayerForms& forms, PageSlot slot, std::size_t number, std::span<const std::byte> part,
                    const PageRef& page);

}  // namespace cairn::cache

// SPDX-License-Identifier: Apache-2.0
// A stored block made smaller without loss: the same parts, those compressed that get shorter by it.
#pragma once

#include <expected>
#include <memory>

#include "cairn/store/record/block_record.h"

namespace cairn {

// Null when it would not take a page less. Every part is verified as it is read and again as the new record gives it
// back. Refused: a part that is damaged, one that is encrypted without a key or with another. An encrypted record stays
// encrypted, with a nonce of its own; one that is not stays so too.
std::expected<std::shared_ptr<const BlockRecord>, Refusal> compress_record(const BlockRecord& record, int level,
                                                                           const StoreKey* key = nullptr);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Prefixes that an operator declares public. Every tenant's cache holds their blocks from the start and for good, so a hit
// on one tells a tenant nothing about another one.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/engine/engine.h"

namespace cairn {

// Their whole blocks; a rest that fills none is not held.
struct HeldPrefixes {
  std::vector<Sequence> sequences{};  // what they hold is not evicted; must go before the engine does
  std::vector<Digest> keys{};         // each block once
  std::size_t bytes = 0;
};

// Loads or computes them. Errors: kOutOfBudget when they would take more than half of the engine's KV budget,
// kInvalidArgument for tokens that the model does not know, kTooLong beyond the context.
Result<HeldPrefixes> hold_prefixes(Engine& engine, std::span<const std::vector<TokenId>> prefixes);

}  // namespace cairn

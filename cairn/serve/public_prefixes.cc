// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/public_prefixes.h"

#include <string>
#include <unordered_set>

#include "cairn/block/block_key.h"

namespace cairn {

Result<HeldPrefixes> hold_prefixes(Engine& engine, std::span<const std::vector<TokenId>> prefixes) {
  const KvCache& cache = engine.cache();
  std::vector<std::span<const TokenId>> whole;
  std::unordered_set<Digest, DigestHash> known;
  HeldPrefixes held;
  for (const std::span<const TokenId> tokens : prefixes) {
    whole.push_back(tokens.first(tokens.size() / kBlockTokens * kBlockTokens));
    const std::vector<Digest> keys = block_keys(cache.options().root, tokens);
    for (std::size_t b = 0; b < keys.size(); ++b) {
      if (!known.insert(keys[b]).second) continue;
      held.keys.push_back(keys[b]);
      held.bytes += cache.block_bytes(b);
    }
  }
  const std::size_t budget = cache.options().budget_bytes;
  if (held.bytes > budget / 2) {
    return fail(ErrorCode::kOutOfBudget, "the public prefixes take " + std::to_string(held.bytes) +
                                             " bytes of keys and values, more than half of the " +
                                             std::to_string(budget) + " of a tenant");
  }
  for (const std::span<const TokenId> tokens : whole) {
    if (tokens.empty()) continue;
    Sequence sequence = engine.open(tokens);
    CAIRN_TRY_VOID(engine.prefill(sequence, tokens.subspan(sequence.size())));
    held.sequences.push_back(std::move(sequence));
  }
  return held;
}

}  // namespace cairn

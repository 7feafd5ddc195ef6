// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/sealing.h"

#include <algorithm>
#include <utility>

#include "cairn/cache/kv_connector.h"

namespace cairn {

bool at_plain_positions(const LayerTable& layer, std::size_t block) {
  const PositionBlock& positions = *layer.entry(block).positions;
  for (std::size_t t = 0; t < kBlockTokens; ++t) {
    if (positions[t] != static_cast<std::int64_t>(block * kBlockTokens + t)) return false;
  }
  return true;
}

namespace {

SealedBlock sealed_block(const Digest& parent, const Digest& key, std::span<const TokenId, kBlockTokens> tokens,
                         const std::vector<LayerTable>& layers, std::size_t block) {
  SealedBlock sealed{.parent = parent, .key = key, .tokens = {}, .pages = {}};
  std::ranges::copy(tokens, sealed.tokens.begin());
  for (const LayerTable& layer : layers) {
    sealed.pages.push_back(layer.entry(block).keys);
    sealed.pages.push_back(layer.entry(block).values);
  }
  return sealed;
}

}  // namespace

void index_block(CacheCore& core, const Digest& parent, const Digest& key,
                 std::span<const TokenId, kBlockTokens> tokens, std::vector<LayerTable>& layers, std::size_t block) {
  if (!core.index) return;
  InsertResult result = core.index->insert(core.options.root, sealed_block(parent, key, tokens, layers, block));
  if (result.outcome != InsertOutcome::kDuplicate) return;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    layers[l].replace_pages(block, std::move(result.first_pages[2 * l]), std::move(result.first_pages[2 * l + 1]));
  }
}

void publish_block(CacheCore& core, const Digest& parent, const Digest& key,
                   std::span<const TokenId, kBlockTokens> tokens, std::vector<LayerTable>& layers, std::size_t block) {
  // Only new blocks: those that the index knows were written before, or came from the store.
  if (core.index && core.options.store && core.index->known({&key, 1}) == 0) {
    core.options.store->write_behind(core, sealed_block(parent, key, tokens, layers, block),
                                     static_cast<std::uint32_t>(block));
  }
  index_block(core, parent, key, tokens, layers, block);
}

}  // namespace cairn

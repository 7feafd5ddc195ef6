// SPDX-License-Identifier: Apache-2.0
// Caches and sequences whose K and V are a function of everything before them, as a model's are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cairn/cache/kv_cache.h"
#include "cairn/cache/pass.h"

namespace cairn::testing {

inline constexpr std::uint32_t kLayers = 2;
inline constexpr PageShape kShape{.kv_heads = 2, .head_dim = 16};

// Keys and values have pages of different sizes.
inline KvCacheOptions make_options(std::size_t blocks, std::size_t index_blocks) {
  KvCacheOptions options{.plan = {},
                         .layers = like_layers(kLayers, kShape),
                         .root = chain_root(Digest{}, "test"),
                         .budget_bytes = 0,
                         .index_budget_bytes = 0};
  options.plan.layers.assign(kLayers, {*find_codec("raw_f32"), *find_codec("raw_f16")});
  const std::size_t pair = cache::PageForms(options.plan, 0, PageSlot::kKeys, kShape).open_bytes +
                           cache::PageForms(options.plan, 0, PageSlot::kValues, kShape).open_bytes;
  options.budget_bytes = blocks * kLayers * pair;
  options.index_budget_bytes = index_blocks * (kLayers * pair + 1024);
  return options;
}

inline std::unique_ptr<KvCache> make_cache(std::size_t blocks, std::size_t index_blocks) {
  return KvCache::create(make_options(blocks, index_blocks)).value();
}

// What a token's K and V depend on: itself, its position, and the tokens and positions before it.
struct ModelToken {
  TokenId id = 0;
  std::int32_t position = 0;
  std::uint64_t context = 0;
};

inline ModelToken model_token(std::span<const ModelToken> before, TokenId id, std::int32_t position) {
  const std::uint64_t context = before.empty() ? 1 : before.back().context;
  std::uint64_t mixed = context * 0x9e3779b97f4a7c15u + static_cast<std::uint32_t>(id);
  mixed = (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9u + static_cast<std::uint32_t>(position);
  return {id, position, mixed ^ mixed >> 32};
}

// One row of K or V; small integers, exact in every raw codec.
inline std::vector<float> model_row(const ModelToken& token, std::uint32_t layer, PageSlot slot) {
  std::vector<float> row(kShape.values_per_token());
  std::uint64_t state = token.context + 7 * layer + 3 * static_cast<std::uint64_t>(slot);
  for (float& value : row) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<float>(static_cast<std::int64_t>(state >> 53) - 1024);
  }
  return row;
}

// Threads and memory of this thread's passes.
inline PassRunner& passes() {
  thread_local ThreadPool pool(1);
  thread_local PassRunner runner(/*heads=*/2, pool);
  return runner;
}

inline Result<Pass> begin(Sequence& sequence, std::span<const std::int32_t> positions,
                          std::span<const std::size_t> slots = {}) {
  const PassRows rows{&sequence, positions, slots};
  return passes().begin({&rows, 1});
}

// Stores the rows of `tokens` in all layers.
inline void store_tokens(Pass& pass, std::span<const ModelToken> tokens) {
  for (std::uint32_t l = 0; l < kLayers; ++l) {
    std::vector<float> k, v;
    for (const ModelToken& token : tokens) {
      std::ranges::copy(model_row(token, l, PageSlot::kKeys), std::back_inserter(k));
      std::ranges::copy(model_row(token, l, PageSlot::kValues), std::back_inserter(v));
    }
    pass.append(l, k.data(), v.data());
  }
}

// Appends ids at the next positions to sequence and model alike.
inline Status append(Sequence& sequence, std::vector<ModelToken>& model, std::span<const TokenId> ids) {
  std::vector<ModelToken> all = model;
  std::vector<std::int32_t> positions;
  for (TokenId id : ids) {
    positions.push_back(static_cast<std::int32_t>(all.size()));
    all.push_back(model_token(all, id, positions.back()));
  }
  CAIRN_TRY(Pass pass, begin(sequence, positions));
  store_tokens(pass, std::span(all).subspan(model.size()));
  CAIRN_TRY_VOID(pass.commit(ids));
  model = std::move(all);
  return {};
}

inline std::vector<ModelToken> model_of(std::span<const TokenId> ids) {
  std::vector<ModelToken> model;
  for (TokenId id : ids) model.push_back(model_token(model, id, static_cast<std::int32_t>(model.size())));
  return model;
}

// Decodes every page of the sequence; empty when all of it, `in_pass` new tokens of a pass included, equals the model.
inline std::string difference(const KvCache&, const Sequence& sequence, std::span<const ModelToken> model,
                              std::size_t in_pass = 0) {
  if (sequence.size() + in_pass != model.size()) return "wrong size";
  for (std::size_t t = 0; t < sequence.size(); ++t) {
    if (sequence.tokens()[t] != model[t].id) return "token " + std::to_string(t);
  }
  const std::size_t width = kShape.values_per_token();
  std::vector<float> keys(kBlockTokens * width), values(kBlockTokens * width);
  for (std::uint32_t l = 0; l < kLayers; ++l) {
    std::size_t t = 0;
    for (const PageView& view : sequence.pages(l)) {
      if (view.count == 0 || (view.count < kBlockTokens && &view != &sequence.pages(l).back())) return "page count";
      view.key_format->codec->decode(*view.key_format, view.keys, view.count, keys.data());
      view.value_format->codec->decode(*view.value_format, view.values, view.count, values.data());
      for (std::uint32_t slot = 0; slot < view.count; ++slot, ++t) {
        const auto at = static_cast<std::ptrdiff_t>(slot * width);
        const std::string where = " of token " + std::to_string(t) + ", layer " + std::to_string(l);
        if (t >= model.size()) return "too many tokens";
        if (view.positions[slot] != model[t].position) return "position" + where;
        if (!std::ranges::equal(model_row(model[t], l, PageSlot::kKeys), std::span(keys).subspan(at, width))) {
          return "K" + where;
        }
        if (!std::ranges::equal(model_row(model[t], l, PageSlot::kValues), std::span(values).subspan(at, width))) {
          return "V" + where;
        }
      }
    }
    if (t != model.size()) return "too few tokens";
  }
  return {};
}

// Stream `s` of token ids from `first` on; streams 0 to 2 agree on their first 100 tokens.
inline std::vector<TokenId> stream(int s, std::size_t first, std::size_t count) {
  std::vector<TokenId> ids;
  for (std::size_t i = first; i < first + count; ++i) ids.push_back(static_cast<TokenId>(i < 100 ? i : 1000 * s + i));
  return ids;
}

}  // namespace cairn::testing

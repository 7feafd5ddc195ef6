// SPDX-License-Identifier: Apache-2.0
// Keys and values that a model computes for a text, and what its queries ask of the keys: what codebooks are trained
// on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/attention/signals.h"
#include "cairn/base/result.h"
#include "cairn/block/shape.h"
#include "cairn/engine/engine.h"

namespace cairn::train {

// Immutable once made; thread-safe.
class KvSamples {
 public:
  // Up to `max_tokens` tokens of the text, in windows of `window` tokens (0: the engine's context) that are
  // spread evenly over it, each after the begin token that the model wants. Errors: kInvalidArgument (a text of fewer
  // than kMinTokens tokens, a window of fewer than 2), kTooLong (one beyond the engine's
  // context), those of Engine::sibling and of prefill; kCancelled.
  struct Options {
    std::size_t max_tokens = 8192;
    std::uint32_t window = 0;
    bool queries = false;            // query_moments() too
    SignalListener* also = nullptr;  // is told all of this too
  };
  static Result<KvSamples> collect(const Engine& engine, std::span<const TokenId> text, const Options& wanted,
                                   const PrefillControl& control = {});
  static constexpr std::size_t kMinTokens = 1024;

  std::size_t tokens() const { return tokens_; }
  std::uint32_t layers() const { return layers_; }
  PageShape shape() const { return shape_; }

  // [tokens, head_dim] of one head, as an open block would hold them.
  std::vector<float> head(std::uint32_t layer, PageSlot slot, std::uint32_t kv_head) const;
  // How many tokens lie before this one in its window.
  std::size_t place(std::size_t token) const { return token % window_; }
  // Sum of q q' over the queries that meet the keys of one head, [head_dim, head_dim]. Requires: they were wanted.
  std::span<const double> query_moments(std::uint32_t layer, std::uint32_t kv_head) const;

 private:
  KvSamples(std::uint32_t layers, PageShape shape, std::size_t tokens);

  std::size_t tokens_;
  std::size_t window_ = 1;
  std::uint32_t layers_;
  PageShape shape_;
  std::vector<std::vector<double>> moments_;  // by layer, [kv_heads, head_dim, head_dim]; empty if not wanted
  // In the order of LayerSlot: f16 [tokens, kv_heads, head_dim].
  std::vector<std::vector<std::uint16_t>> rows_;
};

}  // namespace cairn::train

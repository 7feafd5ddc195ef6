// SPDX-License-Identifier: Apache-2.0
// How fast an engine is: prefill and decode at a depth of its KV cache. The engine computes on the calling thread and
// its own pool, so nobody else may use it, or a sibling, meanwhile; it keeps the measured prefix in its index if it
// reuses.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/policy/policy.h"

namespace cairn {

struct Spread {
  double median = 0, min = 0, max = 0;
};

// Requires: at least one value.
Spread spread_of(std::vector<double> values);

struct DepthRates {
  std::uint32_t depth = 0;
  std::vector<double> prefill;  // tokens per second of each repetition; empty when none was asked for
  std::vector<double> decode;
};

struct SpeedSettings {
  std::uint32_t prefill = 512;  // tokens, 0: do not measure
  std::uint32_t decode = 32;    // tokens, 0: do not measure
  std::uint32_t repeat = 3;
  std::function<void(std::size_t done, std::size_t total)> on_fill{};  // while a sequence is filled to its depth
};

// Fills a sequence with `depth` tokens once, then times every repetition on a fork of it. The first, untimed step
// warms caches and threads. Errors: those of Engine::prefill and Engine::decode.
Result<DepthRates> measure_depth(Engine& engine, std::uint32_t depth, const SpeedSettings& settings);

// The same under each of these policies (nothing: none) instead of the engine's own, one after the other within a
// repetition, so that all of them meet the same noise. Where the engine reuses prefixes the tokens before are computed
// once, and a policy computes those that it must see. Gives as many rates, in this order. Requires: the cache's layers
// and codecs can follow them (KvCache::check_policy).
Result<std::vector<DepthRates>> measure_policies(Engine& engine, std::uint32_t depth, const SpeedSettings& settings,
                                                 std::span<const std::optional<PolicySpec>> policies);

// Decoding at one depth whose repetitions the caller starts: other programs may have their turn in between.
// Thread-compatible. Refers to the engine, which must outlive it, and holds a sequence of its cache.
class PacedDecode {
 public:
  // Fills a sequence with `depth` tokens and decodes once, untimed. Errors: those of Engine::prefill and decode.
  static Result<PacedDecode> prepare(Engine& engine, std::uint32_t depth, const SpeedSettings& settings);

  // Tokens per second of settings.decode tokens on a fork of the filled sequence.
  Result<double> measure();

 private:
  PacedDecode(Engine& engine, Sequence base) : engine_(engine), base_(std::move(base)) {}

  Engine& engine_;
  Sequence base_;
  std::vector<TokenId> after_;
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/speed.h"

#include <algorithm>
#include <chrono>
#include <span>

#include "cairn/base/clock.h"

namespace cairn {
namespace {

using SpeedClock = std::chrono::steady_clock;

// Ids spread over the vocabulary by a fixed multiplicative sequence: the same text in every run.
std::vector<TokenId> filler(std::size_t count, std::size_t vocabulary) {
  std::vector<TokenId> ids(count);
  std::uint64_t state = 1;
  for (TokenId& id : ids) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    id = static_cast<TokenId>((state >> 33) % vocabulary);
  }
  return ids;
}

double rate_since(SpeedClock::time_point start, std::size_t tokens) {
  return static_cast<double>(tokens) / seconds_since(start);
}

Result<double> time_prefill(Engine& engine, Sequence sequence, std::span<const TokenId> ids) {
  const SpeedClock::time_point start = SpeedClock::now();
  CAIRN_TRY(const auto logits, engine.prefill(sequence, ids));
  static_cast<void>(logits);
  return rate_since(start, ids.size());
}

Result<double> time_decode(Engine& engine, Sequence sequence, std::span<const TokenId> ids) {
  CAIRN_TRY(auto logits, engine.decode(sequence, ids.front()));  // copies the shared tail, warms up
  const SpeedClock::time_point start = SpeedClock::now();
  for (const TokenId id : ids.subspan(1)) {
    CAIRN_TRY(logits, engine.decode(sequence, id));
  }
  return rate_since(start, ids.size() - 1);
}

Result<Sequence> filled(Engine& engine, std::span<const TokenId> ids, const SpeedSettings& settings,
                        const std::optional<PolicySpec>& policy) {
  Sequence sequence = engine.open(ids, {}, policy);
  if (const auto rest = ids.subspan(sequence.size()); !rest.empty()) {
    CAIRN_TRY(const auto logits, engine.prefill(sequence, rest, {.on_progress = settings.on_fill}));
    static_cast<void>(logits);
  }
  return sequence;
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {.median = median, .min = values.front(), .max = values.back()};
}

Result<DepthRates> measure_depth(Engine& engine, std::uint32_t depth, const SpeedSettings& settings) {
  CAIRN_TRY(std::vector<DepthRates> rates, measure_policies(engine, depth, settings, {&engine.policy(), 1}));
  return std::move(rates.front());
}

Result<std::vector<DepthRates>> measure_policies(Engine& engine, std::uint32_t depth, const SpeedSettings& settings,
                                                 std::span<const std::optional<PolicySpec>> policies) {
  const std::vector<TokenId> ids = filler(depth + settings.prefill + settings.decode + 1, engine.config().vocab);
  const std::span<const TokenId> after = std::span(ids).subspan(depth);
  std::vector<Sequence> bases;
  for (const std::optional<PolicySpec>& policy : policies) {
    CAIRN_TRY(Sequence base, filled(engine, std::span(ids).first(depth), settings, policy));
    bases.push_back(std::move(base));
  }
  std::vector<DepthRates> rates(policies.size(), DepthRates{.depth = depth, .prefill = {}, .decode = {}});
  for (std::uint32_t i = 0; i <= settings.repeat; ++i) {
    for (std::size_t p = 0; p < policies.size(); ++p) {
      if (settings.prefill > 0) {
        CAIRN_TRY(const double rate, time_prefill(engine, bases[p].fork(), after.first(settings.prefill)));
        if (i > 0) rates[p].prefill.push_back(rate);
      }
      if (settings.decode > 0) {
        CAIRN_TRY(const double rate, time_decode(engine, bases[p].fork(), after.first(settings.decode + 1)));
        if (i > 0) rates[p].decode.push_back(rate);
      }
    }
  }
  return rates;
}

Result<PacedDecode> PacedDecode::prepare(Engine& engine, std::uint32_t depth, const SpeedSettings& settings) {
  const std::vector<TokenId> ids = filler(depth + settings.decode + 1, engine.config().vocab);
  CAIRN_TRY(Sequence base, filled(engine, std::span(ids).first(depth), settings, engine.policy()));
  PacedDecode paced(engine, std::move(base));
  paced.after_.assign(ids.begin() + depth, ids.end());
  CAIRN_TRY(const double warm_up, paced.measure());
  static_cast<void>(warm_up);
  return paced;
}

Result<double> PacedDecode::measure() {
  return time_decode(engine_, base_.fork(), after_);
}

}  // namespace cairn

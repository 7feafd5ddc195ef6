// SPDX-License-Identifier: Apache-2.0
// What codecs do to a model, measured. Of single units: what storing K or V of one layer in another codec does to
// that layer's attention output, everything else being as it was: the raw material of plans (KVTuner, arXiv
// 2502.04420). Of whole plans: the mean KL divergence on windows of a text.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/codec/plan.h"
#include "cairn/engine/engine.h"
#include "cairn/eval/text_run.h"

namespace cairn {

struct UnitErrorsControl {
  std::function<void(std::size_t done, std::size_t total)> on_progress{};
  const std::atomic<bool>* cancel = nullptr;
};

// Relative squared errors of attention outputs, E|o' - o|^2 / E|o|^2 over all tokens of all prompts,
// [candidates] for each layer's K and V in the order of LayerSlot. The output is that before the output projection.
using UnitErrors = std::vector<std::vector<double>>;

// Prompts are computed on an exact cache; each layer's queries, keys and values are then attended over again with one
// slot encoded, block by block as a forward pass would. Candidates that need codebooks take those given. Errors: those
// of Engine::sibling and of forward passes; kInvalidArgument without prompts; kCancelled, checked between layers.
Result<UnitErrors> measure_unit_errors(const Engine& family, std::span<const std::vector<TokenId>> prompts,
                                       std::span<const Codec* const> candidates,
                                       std::shared_ptr<const Codebooks> codebooks,
                                       const UnitErrorsControl& control = {});

// Thread-compatible; `engine` must outlive it.
class PlanDivergence {
 public:
  PlanDivergence(const Engine& engine, EngineOptions options, const std::atomic<bool>& cancel)
      : engine_(engine), options_(std::move(options)), cancel_(cancel) {}

  // Nats per predicted token, against raw_f16, of each plan on the same windows. Errors: those of JudgedEngine::make
  // and run_text; kCancelled.
  Result<std::vector<double>> mean_kl(std::span<const CodecPlan> plans, const Windows& windows,
                                      const std::function<void(std::size_t, std::size_t)>& on_progress = {}) const;

 private:
  const Engine& engine_;
  EngineOptions options_;
  const std::atomic<bool>& cancel_;
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// What a codec plan costs, measured: the mean KL divergence that it causes on windows of a text.
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

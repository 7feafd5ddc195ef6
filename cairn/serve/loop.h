// SPDX-License-Identifier: Apache-2.0
// The thread that computes: asks the scheduler for a step, runs it as one pass, samples, hands tokens out.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/serve/backend.h"

namespace cairn {

struct TenantLimits {
  std::size_t kv_bytes = 0;     // of its cache; 0: an equal share of what no tenant has been given
  std::size_t max_running = 0;  // at a time; 0: as many as all
  std::size_t max_waiting = 64;
};

struct LoopOptions {
  std::size_t kv_budget_bytes = std::size_t{2} << 30;  // of all tenants together
  std::size_t max_running = 16;
  std::size_t max_waiting = 256;
  std::uint32_t prefill_rows = 64;  // in a pass in which another request decodes
  std::chrono::milliseconds patience{5000};
  std::map<std::string, TenantLimits> tenants{{"", {}}};  // all there are; "" is who has no key
  EngineOptions engine{};                                 // of each tenant's cache: codec, context, store
  std::vector<std::vector<TokenId>> public_prefixes{};    // held for every tenant from the start (hold_prefixes)
};

// Thread-safe.
class ServeLoop final : public GenerateBackend {
 public:
  // Takes the model. Errors: those of Engine::sibling and hold_prefixes; kInvalidArgument for plans whose blocks cannot
  // be reused.
  static Result<std::unique_ptr<ServeLoop>> create(std::unique_ptr<Engine> engine, LoopOptions options);
  ~ServeLoop() override;
  ServeLoop(const ServeLoop&) = delete;
  ServeLoop& operator=(const ServeLoop&) = delete;

  Result<std::shared_ptr<Generation>> submit(GenerateRequest request) override;
  std::size_t max_at_once(const std::string& tenant) const override;
  void drain(Deadline deadline) override;
  bool draining() const override;
  LoopState state() const override;
  std::vector<HeldBlock> held_blocks(const std::string& tenant, std::size_t most) const override;
  const Tokenizer& tokenizer() const override;
  const ModelConfig& config() const override;
  std::uint32_t context() const override;
  Store* store() const override;
  std::size_t stored_block_bytes() const;  // of a full block's record; requires a store

 private:
  struct Impl;
  explicit ServeLoop(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// What the API needs of whatever generates: the loop, or a stand-in in tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/base/result.h"
#include "cairn/cache/kv_cache.h"
#include "cairn/engine/model_config.h"
#include "cairn/serve/generation.h"
#include "cairn/store/store.h"
#include "cairn/text/tokenizer.h"

namespace cairn {

// What the page and /metrics show. Counters grow for ever.
struct TenantState {
  std::string name;
  std::size_t running = 0, waiting = 0;
  std::uint64_t requests = 0, prompt_tokens = 0, cached_tokens = 0, stored_tokens = 0, generated_tokens = 0;
  KvCacheStats cache;
  std::size_t kv_budget = 0;
  std::size_t kv_public = 0;  // of kv_budget: what the public prefixes take for good
};

struct LoopState {
  std::size_t running = 0, waiting = 0, max_running = 0;
  std::uint64_t passes = 0, rows = 0, prefill_rows = 0, decode_rows = 0;
  std::uint64_t preempted = 0, finished = 0, cancelled = 0, failed = 0, refused = 0;
  std::size_t last_batch = 0;  // requests in the last pass
  std::size_t max_rows = 0;    // of a pass
  std::string codec;
  std::vector<TenantState> tenants;
};

using HeldBlock = IndexedBlock;

// Thread-safe.
class GenerateBackend {
 public:
  virtual ~GenerateBackend() = default;

  // Queues a request. Errors: kInvalidArgument (no tokens, sampling out of range, unknown tenant), kTooLong (prompt and
  // max_tokens exceed the context), kOutOfBudget (it could never fit the tenant's KV budget), kBusy (too many wait, or
  // draining).
  virtual Result<std::shared_ptr<Generation>> submit(GenerateRequest request) = 0;
  // How many of a tenant may be submitted at once when nobody else waits.
  virtual std::size_t max_at_once(const std::string& tenant) const = 0;

  // Takes no more requests and waits for those that run; the others end as kCancelled at the deadline. Flushes the
  // store.
  virtual void drain(Deadline deadline) = 0;
  virtual bool draining() const = 0;

  virtual LoopState state() const = 0;
  // At most `most` blocks of a tenant's index, parents before children.
  virtual std::vector<HeldBlock> held_blocks(const std::string& tenant, std::size_t most) const = 0;

  virtual const Tokenizer& tokenizer() const = 0;
  virtual const ModelConfig& config() const = 0;
  virtual std::uint32_t context() const = 0;
  virtual Store* store() const = 0;  // null without one
};

}  // namespace cairn

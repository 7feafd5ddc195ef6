// SPDX-License-Identifier: Apache-2.0
// A store of prefixes: what was computed once is found again by later processes, verified or not at all.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cairn/result.h"

namespace cairn {

// Where prefixes are kept, and on what terms. Whose they are is up to each model: see ModelOptions::tenant.
struct StoreConfig {
  std::vector<std::string> tiers{};  // a folder, ram:SIZE, redis://..., unix://...
  std::uint64_t disk_bytes = std::uint64_t{10} << 30;
  std::uint64_t tenant_bytes = 0;  // most that one tenant may hold in a tier; 0: no limit of its own
  std::string eviction = "cost";   // which block goes first: cost, s3fifo, lru
  std::int64_t ttl_s = 0;          // 0: blocks do not expire
  std::string key_file{};          // encrypts what is stored
  bool required = false;           // a tier that does not open is an error
  bool read_only = false;
};

class Store;  // of the library's inside

struct PrefixStoreStats {
  std::uint64_t blocks_read = 0;     // handed to models, verified
  std::uint64_t blocks_written = 0;  // taken for writing
  std::uint64_t blocks_dropped = 0;  // not written since the queue was full
  std::uint64_t writes_failed = 0;
};

// A handle: copies stand for the same store, which is closed with the last of them and of the models that use it.
// Thread-safe.
class PrefixStore {
 public:
  // Opens the tiers, fastest first. A tier that does not open is left out, with a line in warnings(), unless
  // `config.required`. Errors: kInvalidArgument (a text that names no tier, an unknown policy, a bad key file, no tier
  // at all); with `required` also what the tier says.
  static Result<PrefixStore> open(const StoreConfig& config);

  const std::vector<std::string>& warnings() const { return warnings_; }
  PrefixStoreStats stats() const;
  // Waits until all that was queued before is written. kIo when that takes longer.
  Status flush(std::chrono::milliseconds timeout) const;

 private:
  friend class Model;
  PrefixStore(std::shared_ptr<Store> store, std::vector<std::string> warnings)
      : store_(std::move(store)), warnings_(std::move(warnings)) {}

  std::shared_ptr<Store> store_;
  std::vector<std::string> warnings_;
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Stored blocks in memory: what the process shares between caches, and what is read again soon after it left the cache.
#pragma once

#include <mutex>
#include <unordered_map>

#include "cairn/store/residency.h"
#include "cairn/store/tier.h"

namespace cairn {

// Records are shared, not copied: a block that was evicted lives until its last reader lets go of it, also after the
// tier is gone. Thread-safe; no lock is held while the sink of a get() runs.
class RamTier final : public Tier {
 public:
  // kInvalidArgument for an unknown policy.
  static Result<std::unique_ptr<RamTier>> create(ResidencyOptions options);

  std::string name() const override { return "ram"; }
  bool durable() const override { return false; }
  std::vector<BlockStatus> contains(std::span<const Digest> keys, Deadline deadline) override;
  std::vector<BlockStatus> lease(std::span<const Digest> keys, Deadline deadline) override;
  void get(std::span<const Digest> keys, Deadline deadline, const GetSink& sink) override;
  std::vector<BlockStatus> put(std::span<const std::shared_ptr<const BlockRecord>> records, Deadline deadline) override;
  std::vector<BlockStatus> replace(std::span<const std::shared_ptr<const BlockRecord>> records,
                                   Deadline deadline) override;
  std::vector<BlockStatus> erase(std::span<const Digest> keys, Deadline deadline) override;
  BlockStatus pin(const Digest& key, std::int64_t until_s) override;
  void report_corrupt(const Digest& key) override;
  Status list(const std::function<bool(const StoredBlock&)>& visitor, Deadline deadline) override;
  void describe_recipe(const Digest& recipe, const std::string& text) override;
  std::map<Digest, std::string> recipes() override;
  TierStats stats() const override;

 private:
  explicit RamTier(Residency residency) : residency_(std::move(residency)) {}
  BlockStatus find(const Digest& key, std::shared_ptr<const BlockRecord>* record);

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  Residency residency_;
  std::unordered_map<Digest, std::shared_ptr<const BlockRecord>, DigestHash> records_;
  std::map<Digest, std::string> recipes_;
  TierStats stats_;
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/ram_tier.h"

#include <utility>

namespace cairn {

Result<std::unique_ptr<RamTier>> RamTier::create(ResidencyOptions options) {
  CAIRN_TRY(Residency residency, Residency::create(std::move(options)));
  return std::unique_ptr<RamTier>(new RamTier(std::move(residency)));
}

// Requires: mutex_ is held.
BlockStatus RamTier::find(const Digest& key, std::shared_ptr<const BlockRecord>* record) {
  const auto found = records_.find(key);
  if (found == records_.end()) return BlockStatus::kMiss;
  const std::int64_t expires_s = found->second->meta().expires_s;
  if (expires_s != 0 && expires_s <= unix_seconds()) {
    residency_.removed(key);
    records_.erase(found);
    return BlockStatus::kExpired;
  }
  if (record != nullptr) *record = found->second;
  return BlockStatus::kOk;
}

std::vector<BlockStatus> RamTier::contains(std::span<const Digest> keys, Deadline) {
  std::vector<BlockStatus> statuses;
  const std::lock_guard lock(mutex_);
  for (const Digest& key : keys) statuses.push_back(find(key, nullptr));
  return statuses;
}

std::vector<BlockStatus> RamTier::lease(std::span<const Digest> keys, Deadline) {
  std::vector<BlockStatus> statuses;
  const std::lock_guard lock(mutex_);
  for (const Digest& key : keys) {
    statuses.push_back(find(key, nullptr));
    if (statuses.back() == BlockStatus::kOk) residency_.lease(key, deadline_in(kReadLease));
  }
  return statuses;
}

void RamTier::get(std::span<const Digest> keys, Deadline, const GetSink& sink) {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    std::shared_ptr<const BlockRecord> record;
    BlockStatus status;
    {
      const std::lock_guard lock(mutex_);
      status = find(keys[i], &record);
      if (status == BlockStatus::kOk) {
        residency_.used(keys[i]);
        residency_.begin_use(keys[i], {});  // the reader holds the record: the lease is over
        residency_.end_use(keys[i]);
        ++stats_.hits;
        stats_.bytes_read += record->size();
      } else {
        ++(status == BlockStatus::kExpired ? stats_.expired : stats_.misses);
      }
    }
    sink(i, status, std::move(record));
  }
}

std::vector<BlockStatus> RamTier::put(std::span<const std::shared_ptr<const BlockRecord>> records, Deadline) {
  std::vector<BlockStatus> statuses;
  std::vector<std::shared_ptr<const BlockRecord>> dropped;  // freed after the lock
  const std::lock_guard lock(mutex_);
  for (const std::shared_ptr<const BlockRecord>& record : records) {
    const Digest& key = record->meta().key;
    if (records_.contains(key)) {
      statuses.push_back(BlockStatus::kOk);
      continue;
    }
    const Residency::Admission admission = residency_.admit(record->meta(), record->size());
    for (const Digest& victim : admission.evict) {
      dropped.push_back(std::move(records_.extract(victim).mapped()));
      ++stats_.evictions;
    }
    if (!admission.admitted) {
      ++stats_.refused;
      statuses.push_back(BlockStatus::kFull);
      continue;
    }
    records_.emplace(key, record);
    ++stats_.puts;
    stats_.bytes_written += record->size();
    statuses.push_back(BlockStatus::kOk);
  }
  return statuses;
}

// The two are never side by side here: a reader that has the old record keeps it.
std::vector<BlockStatus> RamTier::replace(std::span<const std::shared_ptr<const BlockRecord>> records, Deadline) {
  std::vector<BlockStatus> statuses;
  std::vector<std::shared_ptr<const BlockRecord>> dropped;  // freed after the lock
  const std::lock_guard lock(mutex_);
  for (const std::shared_ptr<const BlockRecord>& record : records) {
    const Digest& key = record->meta().key;
    std::shared_ptr<const BlockRecord> old;
    BlockStatus status = find(key, &old);
    if (status == BlockStatus::kOk && record->size() > old->size()) status = BlockStatus::kFull;
    if (status == BlockStatus::kOk) {
      records_[key] = record;
      residency_.resized(key, record->size());
      stats_.bytes_written += record->size();
    }
    dropped.push_back(std::move(old));
    statuses.push_back(status);
  }
  return statuses;
}

std::vector<BlockStatus> RamTier::erase(std::span<const Digest> keys, Deadline) {
  const std::lock_guard lock(mutex_);
  for (const Digest& key : keys) {
    residency_.removed(key);
    records_.erase(key);
  }
  return std::vector(keys.size(), BlockStatus::kOk);
}

BlockStatus RamTier::pin(const Digest& key, std::int64_t until_s) {
  const std::lock_guard lock(mutex_);
  return residency_.pin(key, until_s) ? BlockStatus::kOk : BlockStatus::kMiss;
}

void RamTier::report_corrupt(const Digest& key) {
  const std::lock_guard lock(mutex_);
  ++stats_.corrupt;
  residency_.removed(key);
  records_.erase(key);
}

Status RamTier::list(const std::function<bool(const StoredBlock&)>& visitor, Deadline) {
  std::vector<StoredBlock> blocks;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, record] : records_) {
      blocks.push_back({record->meta(), record->size(), residency_.pinned_until(key)});
    }
  }
  for (const StoredBlock& block : blocks) {
    if (!visitor(block)) break;
  }
  return {};
}

void RamTier::describe_recipe(const Digest& recipe, const std::string& text) {
  const std::lock_guard lock(mutex_);
  recipes_[recipe] = text;
}

std::map<Digest, std::string> RamTier::recipes() {
  const std::lock_guard lock(mutex_);
  return recipes_;
}

TierStats RamTier::stats() const {
  const std::lock_guard lock(mutex_);
  TierStats stats = stats_;
  stats.blocks = residency_.blocks();
  stats.bytes = residency_.bytes();
  stats.budget = residency_.budget();
  return stats;
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Another record of a block in the place of the one that is there: written and synchronised beside it, then the index
// changes, then the old space goes. write_mutex_ keeps evictions away meanwhile; erasing a block it does not.
#include <cerrno>
#include <map>
#include <utility>

#include "cairn/store/disk/disk_tier.h"

namespace cairn {

std::vector<BlockStatus> DiskTier::replace(std::span<const std::shared_ptr<const BlockRecord>> records,
                                           Deadline deadline) {
  return in_batches(records, deadline, &DiskTier::replace_batch);
}

std::vector<DiskTier::Write> DiskTier::allocate_beside(std::span<const std::shared_ptr<const BlockRecord>> records,
                                                       std::vector<BlockStatus>& statuses) {
  std::vector<Write> writes;
  std::uint64_t all = 0;
  std::map<std::uint64_t, std::uint64_t> of_tenant;
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const BlockMeta& meta = records[i]->meta();
    const std::uint64_t bytes = records[i]->size();
    const auto found = index_.find(meta.key);
    statuses[i] = BlockStatus::kMiss;
    if (found == index_.end()) continue;
    statuses[i] = BlockStatus::kFull;
    if (bytes > found->second.bytes || !room_on_disk(all + bytes) ||
        !residency_->has_room(meta.tenant, of_tenant[meta.tenant] + bytes, dead_bytes_ + all + bytes) ||
        !open_active(bytes)) {
      ++stats_.refused;
      continue;
    }
    all += bytes;
    of_tenant[meta.tenant] += bytes;
    writes.push_back(place_at_end(i, *records[i]));
  }
  return writes;
}

void DiskTier::replace_batch(std::span<const std::shared_ptr<const BlockRecord>> records,
                             std::vector<BlockStatus>& statuses) {
  std::vector<Write> writes = allocate_beside(records, statuses);
  // Whatever the options say of new blocks: what goes here may have been safe for long.
  const std::vector<int> errors = write_out(records, writes, /*sync=*/true);
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < writes.size(); ++i) {
    Place& place = writes[i].place;
    BlockStatus& status = statuses[writes[i].index];
    const auto found = index_.find(place.meta.key);
    // It may have been erased since, and a batch may name a block twice.
    if (errors[i] == 0 && found != index_.end() && place.bytes <= found->second.bytes) {
      stats_.bytes_written += place.bytes;
      since_checkpoint_ += place.bytes;
      residency_->resized(place.meta.key, place.bytes);
      retired_.push_back(std::exchange(found->second, std::move(place)));
      status = BlockStatus::kOk;
      continue;
    }
    stats_.failures += errors[i] != 0;
    if (errors[i] == 0) {
      status = found == index_.end() ? BlockStatus::kMiss : BlockStatus::kFull;
    } else {
      status = errors[i] == ENOSPC || errors[i] == EDQUOT ? BlockStatus::kFull : BlockStatus::kBroken;
    }
    const std::uint32_t id = place.segment->id();
    release(place);
    if (active_ == id && errors[i] != 0) retire_active();
  }
  release_retired();
}

}  // namespace cairn

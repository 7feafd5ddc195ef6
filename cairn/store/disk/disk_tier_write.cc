// SPDX-License-Identifier: Apache-2.0
// Writing to a disk tier: room and a place for each record, a batch with one synchronisation, then the index. A record
// that replaces another is written beside it, and the old space goes when nobody reads it any more; write_mutex_ keeps
// evictions away meanwhile, erasing the block it does not.
#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "cairn/store/disk/disk_tier.h"

namespace cairn {
namespace {

constexpr std::size_t kWriteBatchBytes = std::size_t{32} << 20;

BlockStatus status_of(int error) {
  return error == ENOSPC || error == EDQUOT ? BlockStatus::kFull : BlockStatus::kBroken;
}

}  // namespace

using disk::Place;

std::vector<BlockStatus> DiskTier::put(Records records, Deadline deadline) {
  return write_all(records, deadline, &DiskTier::allocate, &DiskTier::commit_new, options_.sync);
}

std::vector<BlockStatus> DiskTier::replace(Records records, Deadline deadline) {
  // Whatever the options say of new blocks: what goes here may have been safe for long.
  return write_all(records, deadline, &DiskTier::allocate_beside, &DiskTier::commit_other, /*sync=*/true);
}

std::vector<BlockStatus> DiskTier::write_all(Records records, Deadline deadline, Allocate choose, Commit commit,
                                             bool sync) {
  Statuses statuses(records.size(), BlockStatus::kReadOnly);
  if (!writes()) return statuses;
  const std::lock_guard writing(write_mutex_);
  for (std::size_t first = 0; first < records.size();) {
    std::size_t end = first;
    for (std::size_t bytes = 0; end < records.size() && bytes < kWriteBatchBytes; ++end) bytes += records[end]->size();
    Statuses some(end - first, BlockStatus::kTimeout);
    if (folder_.moved()) {
      std::ranges::fill(some, BlockStatus::kBroken);
      const std::lock_guard lock(mutex_);
      stats_.failures += some.size();
    } else if (!passed(deadline)) {
      some = write_batch(records.subspan(first, end - first), choose, commit, sync);
    } else {
      const std::lock_guard lock(mutex_);
      stats_.timeouts += some.size();
    }
    std::ranges::copy(some, statuses.begin() + static_cast<std::ptrdiff_t>(first));
    first = end;
  }
  bool due;
  {
    const std::lock_guard lock(mutex_);
    due = since_checkpoint_ >= options_.checkpoint_bytes;
  }
  if (due && !checkpoint_now()) {
    const std::lock_guard lock(mutex_);
    ++stats_.failures;
  }
  return statuses;
}

std::vector<BlockStatus> DiskTier::write_batch(Records records, Allocate choose, Commit commit, bool sync) {
  Statuses statuses(records.size(), BlockStatus::kFull);
  std::vector<Write> writes = (this->*choose)(records, statuses);
  const std::vector<int> errors = disk::SegmentLog::write(*io_, writes, sync);
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < writes.size(); ++i) {
    const Place& place = writes[i].place;
    BlockStatus& status = statuses[writes[i].index];
    status = (this->*commit)(writes[i].record->meta(), place, errors[i]);
    if (status == BlockStatus::kOk) {
      stats_.bytes_written += place.bytes;
      since_checkpoint_ += place.bytes;
    } else if (errors[i] != 0) {
      ++stats_.failures;
      log_.close(*place.segment);
    }
  }
  log_.release_retired();
  return statuses;
}

std::vector<DiskTier::Write> DiskTier::allocate(Records records, Statuses& statuses) {
  std::vector<Write> writes;
  const std::lock_guard lock(mutex_);
  std::uint64_t all = 0;
  for (const auto& record : records) all += record->size();
  drop_dead_space(all);  // before anything of this batch lies in a segment
  for (std::size_t i = 0; i < records.size(); ++i) {
    const BlockMeta& meta = records[i]->meta();
    const std::uint64_t bytes = records[i]->size();
    if (index_.contains(meta.key)) {
      statuses[i] = BlockStatus::kOk;
      continue;
    }
    if (!has_free(bytes)) {
      ++stats_.refused;
      continue;
    }
    const auto evict = index_.admit(meta, bytes);
    if (!evict) {
      ++stats_.refused;
      continue;
    }
    stats_.evictions += evict->size();
    for (const Digest& victim : *evict) forget(victim, Gone::kEvicted);
    Result<Place> place = log_.append(bytes);
    if (!place) {
      index_.withdraw(meta.key);
      ++stats_.refused;
      continue;
    }
    writes.push_back({.index = i, .record = records[i].get(), .place = *std::move(place)});
  }
  return writes;
}

BlockStatus DiskTier::commit_new(const BlockMeta& meta, Place place, int error) {
  if (error == 0) {
    ++stats_.puts;
    index_.insert(meta, std::move(place));
    return BlockStatus::kOk;
  }
  index_.withdraw(meta.key);
  log_.release(place);
  return status_of(error);
}

std::vector<DiskTier::Write> DiskTier::allocate_beside(Records records, Statuses& statuses) {
  std::vector<Write> writes;
  std::uint64_t all = 0;
  std::map<std::uint64_t, std::uint64_t> of_tenant;
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const BlockMeta& meta = records[i]->meta();
    const std::uint64_t bytes = records[i]->size();
    const disk::BlockIndex::Entry* const found = index_.find(meta.key);
    if (found == nullptr) {
      statuses[i] = BlockStatus::kMiss;
      continue;
    }
    const bool fits =
        bytes <= found->place.bytes && has_free(all + bytes) &&
        index_.residency().has_room(meta.tenant, of_tenant[meta.tenant] + bytes, log_.dead_bytes() + all + bytes);
    Result<Place> place;
    if (fits) place = log_.append(bytes);
    if (!fits || !place) {
      ++stats_.refused;
      continue;
    }
    all += bytes;
    of_tenant[meta.tenant] += bytes;
    writes.push_back({.index = i, .record = records[i].get(), .place = *std::move(place)});
  }
  return writes;
}

BlockStatus DiskTier::commit_other(const BlockMeta& meta, Place place, int error) {
  const disk::BlockIndex::Entry* const found = index_.find(meta.key);
  // It may have been erased since, and a batch may name a block twice.
  if (error == 0 && found != nullptr && place.bytes <= found->place.bytes) {
    log_.retire(index_.move(meta, std::move(place)));
    return BlockStatus::kOk;
  }
  log_.release(place);
  if (error != 0) return status_of(error);
  return found == nullptr ? BlockStatus::kMiss : BlockStatus::kFull;
}

// Where no holes can be made, whole segments go, those with the least of use first. Requires: mutex_ is held.
void DiskTier::drop_dead_space(std::uint64_t bytes) {
  const Residency& residency = index_.residency();
  while (log_.dead_bytes() > 0 && residency.bytes() + log_.dead_bytes() + bytes > residency.budget()) {
    const std::shared_ptr<disk::Segment> poorest = log_.poorest();
    if (poorest == nullptr) return;
    const std::vector<Digest> keys = index_.in_segment(*poorest);
    for (const Digest& key : keys) forget(key, Gone::kEvicted);
    stats_.evictions += keys.size();
    log_.drop(*poorest);  // unless the last of them has taken it along
  }
}

}  // namespace cairn

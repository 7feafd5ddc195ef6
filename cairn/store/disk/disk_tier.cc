// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/disk/disk_tier.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "cairn/store/disk/recovery.h"

namespace cairn {
using disk::Place;

namespace {

constexpr std::size_t kWriteBatchBytes = std::size_t{32} << 20;

BlockStatus status_of(int error) {
  return error == ENOSPC || error == EDQUOT ? BlockStatus::kFull : BlockStatus::kBroken;
}

}  // namespace

DiskTier::DiskTier(DiskTierOptions options, disk::StoreFolder folder, std::unique_ptr<disk::DiskIo> io,
                   disk::BlockIndex index)
    : options_(std::move(options)),
      folder_(std::move(folder)),
      io_(std::move(io)),
      log_(folder_.segments(), options_.segment_bytes, folder_.writes(), *io_),
      index_(std::move(index)) {}

Result<std::unique_ptr<DiskTier>> DiskTier::open(DiskTierOptions options) {
  std::unique_ptr<disk::DiskIo> io = options.io != nullptr ? std::move(options.io) : disk::make_disk_io();
  CAIRN_TRY(disk::StoreFolder folder, disk::StoreFolder::open(options.folder, options.read_only));
  ResidencyOptions residency = options.residency;
  if (!folder.writes()) residency.budget_bytes = UINT64_MAX / 2;  // what others have written is what there is
  CAIRN_TRY(disk::BlockIndex index, disk::BlockIndex::create(std::move(residency)));
  std::unique_ptr<DiskTier> tier(new DiskTier(std::move(options), std::move(folder), std::move(io), std::move(index)));
  const std::lock_guard lock(tier->mutex_);
  CAIRN_TRY(disk::Recovered recovered, disk::recover(tier->folder_, *tier->io_, tier->log_, tier->index_));
  tier->note_ = tier->io_->name() + recovered.note;
  tier->stats_.corrupt = recovered.torn;
  return tier;
}

DiskTier::~DiskTier() {
  if (!writes()) return;
  log_.release_retired();
  (void)checkpoint_now();  // without it the next start scans
}

BlockStatus DiskTier::find(const Digest& key, Place* place) {
  const disk::BlockIndex::Entry* found = index_.find(key);
  if (found == nullptr) {
    refresh();
    found = index_.find(key);
    if (found == nullptr) return BlockStatus::kMiss;
  }
  const std::int64_t expires_s = found->meta.expires_s;
  if (expires_s != 0 && expires_s <= unix_seconds()) {
    forget(key, Gone::kExpired);
    return BlockStatus::kExpired;
  }
  if (place != nullptr) *place = found->place;
  return BlockStatus::kOk;
}

void DiskTier::forget(const Digest& key, Gone why) {
  if (const auto place = index_.erase(key, why)) log_.release(*place);
}

// A reader looks at most once a second for what the writer has added.
void DiskTier::refresh() {
  if (writes() || !passed(next_refresh_)) return;
  next_refresh_ = deadline_in(std::chrono::seconds(1));
  if (const Status status = disk::follow_writer(log_, index_); !status) ++stats_.failures;
}

bool DiskTier::has_moved(const Digest& key, const Place& place) const {
  const disk::BlockIndex::Entry* const found = index_.find(key);
  return found == nullptr || !found->place.same(place);
}

std::vector<BlockStatus> DiskTier::contains(std::span<const Digest> keys, Deadline) {
  std::vector<BlockStatus> statuses;
  const std::lock_guard lock(mutex_);
  for (const Digest& key : keys) statuses.push_back(find(key, nullptr));
  return statuses;
}

std::vector<BlockStatus> DiskTier::lease(std::span<const Digest> keys, Deadline) {
  std::vector<BlockStatus> statuses;
  const std::lock_guard lock(mutex_);
  for (const Digest& key : keys) {
    statuses.push_back(find(key, nullptr));
    if (statuses.back() == BlockStatus::kOk) index_.residency().lease(key, deadline_in(kReadLease));
  }
  return statuses;
}

std::vector<BlockStatus> DiskTier::erase(std::span<const Digest> keys, Deadline) {
  if (!writes()) return std::vector(keys.size(), BlockStatus::kReadOnly);
  const std::lock_guard lock(mutex_);
  for (const Digest& key : keys) forget(key, Gone::kErased);
  return std::vector(keys.size(), BlockStatus::kOk);
}

BlockStatus DiskTier::pin(const Digest& key, std::int64_t until_s) {
  if (!writes()) return BlockStatus::kReadOnly;
  const std::lock_guard lock(mutex_);
  return index_.residency().pin(key, until_s) ? BlockStatus::kOk : BlockStatus::kMiss;
}

void DiskTier::report_corrupt(const Digest& key) {
  const std::lock_guard lock(mutex_);
  ++stats_.corrupt;
  if (!writes()) {
    // Perhaps another process has put a new record in the place of the one that was being read.
    const disk::BlockIndex::Entry* const before = index_.find(key);
    const Place place = before == nullptr ? Place{} : before->place;
    next_refresh_ = {};
    refresh();
    if (index_.contains(key) && has_moved(key, place)) return;
  }
  forget(key, Gone::kDamaged);
}

Status DiskTier::list(const std::function<bool(const StoredBlock&)>& visitor, Deadline) {
  std::vector<StoredBlock> blocks;
  {
    const std::lock_guard lock(mutex_);
    refresh();
    index_.for_each([&](const disk::BlockIndex::Entry& entry) {
      blocks.push_back({entry.meta, entry.place.bytes, index_.residency().pinned_until(entry.meta.key)});
    });
  }
  for (const StoredBlock& block : blocks) {
    if (!visitor(block)) break;
  }
  return {};
}

void DiskTier::describe_recipe(const Digest& recipe, const std::string& text) {
  folder_.describe_recipe(recipe, text);
}

Gone DiskTier::what_became_of(const Digest& key) {
  const std::lock_guard lock(mutex_);
  return index_.gone().find(key);
}

Status DiskTier::flush(Deadline) {
  if (!writes()) return {};
  if (folder_.moved()) {
    return fail(ErrorCode::kIo, "the store's folder '" + folder_.path() + "' or its lock was removed or moved");
  }
  const std::lock_guard writing(write_mutex_);
  return checkpoint_now();
}

// Requires: write_mutex_ is held, or the tier is being destroyed.
Status DiskTier::checkpoint_now() {
  disk::Snapshot snapshot;
  {
    const std::lock_guard lock(mutex_);
    since_checkpoint_ = 0;
    snapshot = disk::snapshot(log_, index_);
  }
  return disk::save(folder_, std::move(snapshot));
}

TierStats DiskTier::stats() const {
  const std::lock_guard lock(mutex_);
  TierStats stats = stats_;
  stats.blocks = index_.size();
  stats.bytes = index_.residency().bytes() + log_.dead_bytes();
  stats.budget = writes() ? index_.residency().budget() : 0;
  stats.foreign = index_.foreign();
  stats.foreign_version = index_.foreign_version();
  stats.note = note_;
  if (!log_.makes_holes()) stats.note += ", space comes back by whole segments: no holes here";
  if (folder_.moved()) stats.note += ", the folder or its lock was removed or moved";
  if (!writes()) stats.note += ", " + std::string(read_only_text(read_only()));
  return stats;
}

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

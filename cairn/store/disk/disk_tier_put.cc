// SPDX-License-Identifier: Apache-2.0
// Writing to a disk tier: admission, space in segments, a batch of records with one synchronisation.
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "cairn/store/disk/disk_tier.h"
#include "cairn/store/record/record_header.h"

namespace cairn {
namespace {

constexpr std::size_t kWriteBatchBytes = std::size_t{32} << 20;

}  // namespace

bool DiskTier::room_on_disk(std::uint64_t bytes) const {
  struct statvfs info {};
  if (statvfs(options_.folder.c_str(), &info) != 0) return true;  // writing will tell
  return info.f_bavail * info.f_frsize >= options_.min_free_bytes + bytes;
}

// Requires: mutex_ is held.
void DiskTier::retire_active() {
  const auto state = segments_.find(std::exchange(active_, 0));
  if (state == segments_.end() || state->second.live != 0) return;
  ::unlink(state->second.segment->path().c_str());
  dead_bytes_ -= state->second.dead;
  segments_.erase(state);
}

// Requires: mutex_ is held.
Status DiskTier::open_active(std::uint64_t bytes) {
  if (active_ != 0 && segments_.at(active_).end + bytes <= options_.segment_bytes) return {};
  if (active_ != 0) retire_active();
  CAIRN_TRY(auto segment, Segment::create(options_.folder + "/segments", next_segment_));
  active_ = next_segment_++;
  segments_[active_].segment = std::move(segment);
  return {};
}

// Behind what the active segment holds. Requires: mutex_ is held, open_active() has made room.
DiskTier::Write DiskTier::place_at_end(std::size_t index, const BlockRecord& record) {
  SegmentState& state = segments_.at(active_);
  Write write{.index = index,
              .place = {.segment = state.segment, .offset = state.end, .bytes = record.size(), .meta = record.meta()},
              .header = {}};
  write.place.meta.parts.clear();
  state.end += record.size();
  state.live += record.size();
  return write;
}

// Budgets first, then space in a segment for each record that is let in.
std::vector<DiskTier::Write> DiskTier::allocate(std::span<const std::shared_ptr<const BlockRecord>> records,
                                                std::vector<BlockStatus>& statuses) {
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
    statuses[i] = BlockStatus::kFull;
    if (!room_on_disk(bytes)) {
      ++stats_.refused;
      continue;
    }
    const Residency::Admission admission = residency_->admit(meta, bytes);
    stats_.evictions += admission.evict.size();
    for (const Digest& victim : admission.evict) forget(victim, Gone::kEvicted);
    if (!admission.admitted || !open_active(bytes)) {
      if (admission.admitted) residency_->removed(meta.key);
      ++stats_.refused;
      continue;
    }
    residency_->begin_use(meta.key, Deadline::max());  // until it is written: it is in no index yet
    writes.push_back(place_at_end(i, *records[i]));
  }
  return writes;
}

// Returns for each 0 or an errno. Does not throw: whoever asks has given the records their places.
std::vector<int> DiskTier::write_out(std::span<const std::shared_ptr<const BlockRecord>> records,
                                     std::span<Write> writes, bool sync) try {
  // The header is the commit record: it is written when the payload is.
  std::vector<IoOp> payloads, headers;
  for (Write& write : writes) {
    const BlockRecord& record = *records[write.index];
    const std::size_t header_bytes = record_header_bytes(record.meta().parts.size());
    write.header = RecordBytes(header_bytes);
    std::memcpy(write.header.data(), record.bytes().data(), header_bytes);
    stamp_place(write.header.span(), record_place(write.place.segment->id(), write.place.offset));
    const int fd = write.place.segment->fd();
    auto* const payload =
        const_cast<std::byte*>(record.bytes().data()) + header_bytes;  // an IoOp that writes only reads
    payloads.push_back({.fd = fd,
                        .write = true,
                        .offset = write.place.offset + header_bytes,
                        .bytes = {payload, record.size() - header_bytes}});
    headers.push_back({.fd = fd, .write = true, .offset = write.place.offset, .bytes = write.header.span()});
  }
  io_->run(payloads);
  for (std::size_t i = 0; i < headers.size(); ++i) {
    if (payloads[i].error != 0) headers[i].bytes = {};  // nothing to commit
  }
  io_->run(headers);
  std::map<int, int> synced;  // errors by file
  std::vector<int> errors;
  for (std::size_t i = 0; i < writes.size(); ++i) {
    const int fd = writes[i].place.segment->fd();
    if (sync && !synced.contains(fd)) synced[fd] = io_->sync(fd);
    int error = payloads[i].error != 0 ? payloads[i].error : headers[i].error;
    if (error == 0 && sync) error = synced[fd];
    errors.push_back(error);
  }
  return errors;
} catch (const std::bad_alloc&) {
  return std::vector(writes.size(), ENOMEM);
}

void DiskTier::write_batch(std::span<const std::shared_ptr<const BlockRecord>> records,
                           std::vector<BlockStatus>& statuses) {
  std::vector<Write> writes = allocate(records, statuses);
  const std::vector<int> errors = write_out(records, writes, options_.sync);
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < writes.size(); ++i) {
    Place& place = writes[i].place;
    const Digest key = place.meta.key;
    const int error = errors[i];
    if (error == 0) {
      ++stats_.puts;
      stats_.bytes_written += place.bytes;
      since_checkpoint_ += place.bytes;
      statuses[writes[i].index] = BlockStatus::kOk;
      index_.emplace(key, std::move(place));
      gone_.forget(key);
      residency_->end_use(key);
      continue;
    }
    ++stats_.failures;
    statuses[writes[i].index] = error == ENOSPC || error == EDQUOT ? BlockStatus::kFull : BlockStatus::kBroken;
    // Indexed for a moment, so that its space is given back like any other.
    const std::uint32_t id = place.segment->id();
    index_.emplace(key, std::move(place));
    forget(key, Gone::kUnknown);
    if (active_ == id) retire_active();
  }
}

std::vector<BlockStatus> DiskTier::put(std::span<const std::shared_ptr<const BlockRecord>> records, Deadline deadline) {
  return in_batches(records, deadline, &DiskTier::write_batch);
}

std::vector<BlockStatus> DiskTier::in_batches(std::span<const std::shared_ptr<const BlockRecord>> records,
                                              Deadline deadline, WriteSome write) {
  std::vector<BlockStatus> statuses(records.size(), BlockStatus::kReadOnly);
  if (!writes()) return statuses;
  const std::lock_guard writing(write_mutex_);
  for (std::size_t first = 0; first < records.size();) {
    std::size_t end = first;
    for (std::size_t bytes = 0; end < records.size() && bytes < kWriteBatchBytes; ++end) bytes += records[end]->size();
    std::vector<BlockStatus> some(end - first, BlockStatus::kTimeout);
    if (folder_is_gone()) {
      std::ranges::fill(some, BlockStatus::kBroken);
      const std::lock_guard lock(mutex_);
      stats_.failures += some.size();
    } else if (!passed(deadline)) {
      (this->*write)(records.subspan(first, end - first), some);
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

}  // namespace cairn

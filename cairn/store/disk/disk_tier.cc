// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/disk/disk_tier.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <future>
#include <utility>

#include "cairn/base/file.h"

namespace cairn {
namespace {

// Memory that reads in flight may take.
constexpr std::size_t kReadBatchBytes = std::size_t{8} << 20;
constexpr std::size_t kMaxRecipeBytes = 1 << 16;

bool is_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

DiskTier::~DiskTier() {
  if (!writes()) return;
  release_retired();
  (void)checkpoint_now();  // without it the next start scans
  ::close(lock_fd_);
}

// Requires: mutex_ is held.
BlockStatus DiskTier::find(const Digest& key, Place* place) {
  auto found = index_.find(key);
  if (found == index_.end()) {
    refresh();
    found = index_.find(key);
    if (found == index_.end()) return BlockStatus::kMiss;
  }
  const std::int64_t expires_s = found->second.meta.expires_s;
  if (expires_s != 0 && expires_s <= unix_seconds()) {
    forget(key, Gone::kExpired);
    return BlockStatus::kExpired;
  }
  if (place != nullptr) *place = found->second;
  return BlockStatus::kOk;
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
    if (statuses.back() == BlockStatus::kOk) residency_->lease(key, deadline_in(kReadLease));
  }
  return statuses;
}

// The next blocks that are there, not many more than `max_bytes` of them; `sink` hears of the others.
std::vector<DiskTier::Read> DiskTier::prepare_reads(std::span<const Digest> keys, std::size_t& next,
                                                    std::size_t max_bytes, Deadline leased_until, const GetSink& sink) {
  std::vector<Read> reads;
  std::vector<std::pair<std::size_t, BlockStatus>> absent;
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t bytes = 0; next < keys.size() && bytes < max_bytes; ++next) {
      Place place;
      const BlockStatus status = find(keys[next], &place);
      if (status == BlockStatus::kOk) {
        bytes += place.bytes;
        reads.push_back({.index = next, .place = std::move(place), .use = {}, .bytes = {}, .op = {}});
        reads.back().use = Use(*this, reads.back().place, leased_until);
      } else {
        ++(status == BlockStatus::kExpired ? stats_.expired : stats_.misses);
        absent.emplace_back(next, status);
      }
    }
  }
  for (const auto& [index, status] : absent) sink(index, status, nullptr);
  for (Read& read : reads) read.make_room();
  return reads;
}

void DiskTier::run_reads(std::span<Read> reads) {
  std::vector<IoOp> ops;
  for (Read& read : reads) {
    read.op.error = EIO;  // unless it is known better
    ops.push_back(read.op);
  }
  io_->run(ops);
  for (std::size_t i = 0; i < reads.size(); ++i) reads[i].op.error = ops[i].error;
}

BlockStatus DiskTier::judge(const Digest& key, Read& read, std::shared_ptr<const BlockRecord>& record) const {
  if (read.op.error != 0) return read.op.error == ENODATA ? BlockStatus::kCorrupt : BlockStatus::kBroken;
  // A header of nothing but zeros was given back to the file system, by a process whose last checkpoint is older.
  if (is_zero(read.bytes.span().first(kDirectIoPage))) return BlockStatus::kMiss;
  if (const auto foreign = foreign_record(read.op.bytes)) {  // a lying index: a scan does not list it
    read.foreign_version = foreign->version;
    return BlockStatus::kMiss;
  }
  const std::uint64_t place = record_place(read.place.segment->id(), read.place.offset);
  auto parsed = BlockRecord::parse(std::move(read.bytes), place, &key);
  if (!parsed) return BlockStatus::kCorrupt;
  record = *std::move(parsed);
  return BlockStatus::kOk;
}

// Whether the process that writes has put another record in the place of this one, and where that is.
bool DiskTier::follow(const Digest& key, Read& read) {
  {
    const std::lock_guard lock(mutex_);
    next_refresh_ = {};
    refresh();
    const auto found = index_.find(key);
    if (found == index_.end() ||
        (found->second.segment == read.place.segment && found->second.offset == read.place.offset)) {
      return false;
    }
    read.place = found->second;
  }
  read.make_room();
  return true;
}

DiskTier::Use::Use(DiskTier& tier, const Place& place, Deadline until)
    : key_(place.meta.key), place_(record_place(place.segment->id(), place.offset)) {
  if (tier.writes()) tier.reading_.insert(place_);
  tier.residency_->begin_use(key_, until);
  tier_ = &tier;
}

void DiskTier::Use::end() {
  if (tier_ == nullptr) return;
  DiskTier& tier = *std::exchange(tier_, nullptr);
  tier.residency_->end_use(key_);
  if (tier.writes()) tier.reading_.extract(place_);
  tier.release_retired();
}

DiskTier::Use::~Use() {
  if (tier_ == nullptr) return;
  const std::lock_guard lock(tier_->mutex_);
  end();
}

// Gives the record to the sink, and back: null when there is none. With `whole` all of it has been read.
std::shared_ptr<const BlockRecord> DiskTier::deliver(const Digest& key, Read& read, bool whole, const GetSink& sink) {
  std::shared_ptr<const BlockRecord> record;
  BlockStatus status = judge(key, read, record);
  // The process that writes may have given the space back, even while it was read.
  const bool good =
      status == BlockStatus::kBroken || (status == BlockStatus::kOk && (writes() || !whole || record->intact()));
  if (!good && !writes() && follow(key, read)) {
    run_reads({&read, 1});
    status = judge(key, read, record);
  }
  {
    const std::lock_guard lock(mutex_);
    const auto found = index_.find(key);
    const bool moved = found == index_.end() || found->second.segment != read.place.segment ||
                       found->second.offset != read.place.offset;
    if (whole || status != BlockStatus::kOk) read.use.end();
    if (status == BlockStatus::kOk) {
      residency_->used(key);
      ++stats_.hits;
      stats_.bytes_read += read.op.bytes.size();
    } else if (status == BlockStatus::kBroken) {
      ++stats_.failures;
    } else {
      // What was evicted while it was read is a miss; so is what another process has evicted.
      if (moved || !writes()) status = BlockStatus::kMiss;
      ++(status == BlockStatus::kMiss ? stats_.misses : stats_.corrupt);
      if (!moved) forget(key, status == BlockStatus::kCorrupt ? Gone::kDamaged : Gone::kEvicted);
      if (!moved && read.foreign_version != 0) note_foreign(key, read.foreign_version);
    }
  }
  sink(read.index, status, record);
  return record;
}

// While one portion is delivered, which is when callers verify it, the next one is read.
void DiskTier::get(std::span<const Digest> keys, Deadline deadline, const GetSink& sink) {
  std::size_t next = 0;
  std::vector<Read> reads = prepare_reads(keys, next, kReadBatchBytes, deadline_in(kReadLease), sink);
  run_reads(reads);
  for (;;) {
    const bool late = passed(deadline);
    std::vector<Read> upcoming;
    if (!late && next < keys.size())
      upcoming = prepare_reads(keys, next, kReadBatchBytes, deadline_in(kReadLease), sink);
    std::future<void> reading;
    if (!upcoming.empty()) {
      try {
        reading = std::async(std::launch::async, [&] { run_reads(upcoming); });
      } catch (const std::system_error&) {  // no more threads
        run_reads(upcoming);
      }
    }
    for (Read& read : reads) (void)deliver(keys[read.index], read, /*whole=*/true, sink);
    if (reading.valid()) reading.get();
    reads = std::move(upcoming);
    if (late || (reads.empty() && next == keys.size())) break;
  }
  if (next == keys.size()) return;
  {
    const std::lock_guard lock(mutex_);
    stats_.timeouts += keys.size() - next;
  }
  for (; next < keys.size(); ++next) sink(next, BlockStatus::kTimeout, nullptr);
}

// Requires: mutex_ is held.
void DiskTier::forget(const Digest& key, Gone why) {
  const auto found = index_.find(key);
  if (found == index_.end()) return;
  gone_.note(key, why);
  residency_->removed(key);
  const Place place = std::move(found->second);
  index_.erase(found);
  release(place);
}

// The space of a record that no index names any more. Requires: mutex_ is held.
void DiskTier::release(const Place& place) {
  const auto state = segments_.find(place.segment->id());
  if (state == segments_.end()) return;  // its segment went first
  state->second.live -= place.bytes;
  if (!writes()) return;
  if (state->second.live == 0 && state->first != active_) {
    ::unlink(place.segment->path().c_str());
    dead_bytes_ -= state->second.dead;
    segments_.erase(state);
    return;
  }
  if (can_punch_ && io_->punch(place.segment->fd(), place.offset, place.bytes) == 0) return;
  if (std::exchange(can_punch_, false)) note_ += ", space comes back by whole segments: no holes here";
  state->second.dead += place.bytes;
  dead_bytes_ += place.bytes;
}

// Requires: mutex_ is held.
void DiskTier::release_retired() {
  std::erase_if(retired_, [&](const Place& place) {
    if (reading_.contains(record_place(place.segment->id(), place.offset))) return false;
    release(place);
    return true;
  });
}

// Where no holes can be made, whole segments go, those with the least of use first. Requires: mutex_ is held.
void DiskTier::drop_dead_space(std::uint64_t bytes) {
  while (dead_bytes_ > 0 && residency_->bytes() + dead_bytes_ + bytes > residency_->budget()) {
    const SegmentState* poorest = nullptr;
    for (const auto& [id, state] : segments_) {
      if (id != active_ && state.dead > 0 && (poorest == nullptr || state.live < poorest->live)) poorest = &state;
    }
    if (poorest == nullptr) return;
    std::vector<Digest> keys;
    for (const auto& [key, place] : index_) {
      if (place.segment == poorest->segment) keys.push_back(key);
    }
    const std::uint32_t id = poorest->segment->id();
    for (const Digest& key : keys) forget(key, Gone::kEvicted);
    stats_.evictions += keys.size();
    if (const auto state = segments_.find(id); state != segments_.end()) {  // it held nothing of use
      dead_bytes_ -= state->second.dead;
      ::unlink(state->second.segment->path().c_str());
      segments_.erase(state);
    }
  }
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
  return residency_->pin(key, until_s) ? BlockStatus::kOk : BlockStatus::kMiss;
}

void DiskTier::report_corrupt(const Digest& key) {
  const std::lock_guard lock(mutex_);
  ++stats_.corrupt;
  if (!writes()) {
    // Perhaps another process has put a new record in the place of the one that was being read.
    const auto before = index_.find(key);
    const std::uint64_t place =
        before == index_.end() ? 0 : record_place(before->second.segment->id(), before->second.offset);
    next_refresh_ = {};
    refresh();
    const auto now = index_.find(key);
    if (now != index_.end() && record_place(now->second.segment->id(), now->second.offset) != place) return;
  }
  forget(key, Gone::kDamaged);
}

Status DiskTier::list(const std::function<bool(const StoredBlock&)>& visitor, Deadline) {
  std::vector<StoredBlock> blocks;
  {
    const std::lock_guard lock(mutex_);
    refresh();
    for (const auto& [key, place] : index_) {
      blocks.push_back({place.meta, place.bytes, residency_->pinned_until(key)});
    }
  }
  for (const StoredBlock& block : blocks) {
    if (!visitor(block)) break;
  }
  return {};
}

void DiskTier::describe_recipe(const Digest& recipe, const std::string& text) {
  if (!writes()) return;
  const std::string path = options_.folder + "/recipes/" + recipe.hex();
  std::error_code error;
  if (!std::filesystem::exists(path, error)) (void)write_file(path, text);
}

std::map<Digest, std::string> DiskTier::recipes() {
  std::map<Digest, std::string> recipes;
  const std::string folder = options_.folder + "/recipes";
  const auto names = list_folder(folder);
  if (!names) return recipes;
  for (const std::string& name : *names) {
    const auto digest = parse_digest(name);
    const auto text = read_file(folder + "/" + name, kMaxRecipeBytes);
    if (digest && text) recipes[*digest] = std::string(reinterpret_cast<const char*>(text->data()), text->size());
  }
  return recipes;
}

Gone DiskTier::what_became_of(const Digest& key) {
  const std::lock_guard lock(mutex_);
  return gone_.find(key);
}

Status DiskTier::flush(Deadline) {
  if (!writes()) return {};
  if (folder_is_gone()) {
    return fail(ErrorCode::kIo, "the store's folder '" + options_.folder + "' or its lock was removed or moved");
  }
  const std::lock_guard writing(write_mutex_);  // a checkpoint must not cover what is only being written
  return checkpoint_now();
}

TierStats DiskTier::stats() const {
  const std::lock_guard lock(mutex_);
  TierStats stats = stats_;
  stats.blocks = index_.size();
  stats.bytes = residency_->bytes() + dead_bytes_;
  stats.budget = writes() ? residency_->budget() : 0;
  stats.note = note_;
  if (folder_is_gone()) stats.note += ", the folder or its lock was removed or moved";
  if (!writes()) stats.note += ", " + std::string(read_only_text(read_only_));
  return stats;
}

}  // namespace cairn

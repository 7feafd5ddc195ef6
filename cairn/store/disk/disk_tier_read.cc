// SPDX-License-Identifier: Apache-2.0
// Reading from a disk tier: whole blocks in portions, or many blocks part by part. A process that only reads follows
// the one that writes where a record has moved meanwhile.
#include <algorithm>
#include <cerrno>
#include <future>
#include <utility>

#include "cairn/store/disk/disk_tier.h"
#include "cairn/store/record/record_header.h"

namespace cairn {
namespace {

// Memory that reads in flight may take.
constexpr std::size_t kReadBatchBytes = std::size_t{8} << 20;
// Holds the headers of blocks with up to some 160 layers; longer ones are read whole at once.
constexpr std::size_t kHeadBytes = 2 * kDirectIoPage;

bool is_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

using disk::IoOp;
using disk::Place;

// While it lives a block is being read: it is not evicted, and its space is not given to others.
class DiskTier::Use {
 public:
  Use() = default;
  // Requires: mutex_ is held.
  Use(DiskTier& tier, const Digest& key, const Place& place, Deadline until)
      : tier_(&tier), key_(key), stamp_(place.stamp()) {
    tier.log_.begin_read(place);
    tier.index_.residency().begin_use(key, until);
  }
  Use(Use&& other) noexcept : tier_(std::exchange(other.tier_, nullptr)), key_(other.key_), stamp_(other.stamp_) {}
  Use& operator=(Use&& other) noexcept {
    std::swap(tier_, other.tier_);
    std::swap(key_, other.key_);
    std::swap(stamp_, other.stamp_);
    return *this;
  }
  ~Use() {
    if (tier_ == nullptr) return;
    const std::lock_guard lock(tier_->mutex_);
    end();
  }
  // Requires: mutex_ is held.
  void end() {
    if (tier_ == nullptr) return;
    DiskTier& tier = *std::exchange(tier_, nullptr);
    tier.index_.residency().end_use(key_);
    tier.log_.end_read(stamp_);
  }

 private:
  DiskTier* tier_ = nullptr;
  Digest key_;
  std::uint64_t stamp_ = 0;
};

struct DiskTier::Read {
  std::size_t index = 0;
  Place place;
  Use use;
  RecordBytes bytes;
  IoOp op;
  std::uint32_t foreign_version = 0;  // of what lies there, when another version wrote it

  void make_room() {
    bytes = RecordBytes(place.bytes);
    op = {.fd = place.segment->fd(), .offset = place.offset, .bytes = bytes.span()};
  }
};

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
        reads.back().use = Use(*this, keys[next], reads.back().place, leased_until);
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
  if (const auto foreign = foreign_record(read.op.bytes)) {  // no scan lists it, but an index may lie
    read.foreign_version = foreign->version;
    return BlockStatus::kMiss;
  }
  auto parsed = BlockRecord::parse(std::move(read.bytes), read.place.stamp(), &key);
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
    if (!index_.contains(key) || !has_moved(key, read.place)) return false;
    read.place = index_.find(key)->place;
  }
  read.make_room();
  return true;
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
    const bool moved = has_moved(key, read.place);
    if (whole || status != BlockStatus::kOk) read.use.end();
    if (status == BlockStatus::kOk) {
      index_.residency().used(key);
      ++stats_.hits;
      stats_.bytes_read += read.op.bytes.size();
    } else if (status == BlockStatus::kBroken) {
      ++stats_.failures;
    } else {
      // What was evicted while it was read is a miss; so is what another process has evicted.
      if (moved || !writes()) status = BlockStatus::kMiss;
      ++(status == BlockStatus::kMiss ? stats_.misses : stats_.corrupt);
      if (!moved) forget(key, status == BlockStatus::kCorrupt ? Gone::kDamaged : Gone::kEvicted);
      if (!moved && read.foreign_version != 0) index_.note_foreign(key, read.foreign_version);
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

// The records lie in memory at once, as long as they are, and fill up from their beginnings; what is read next starts
// at the page where the last read ended.
class DiskTier::Parts final : public PartReads {
 public:
  struct Block {
    std::size_t index = 0;
    std::shared_ptr<const BlockRecord> record;
    std::span<std::byte> memory;  // of the record
    Place place;
    Use use;
    std::size_t here = 0;  // bytes
  };

  Parts(DiskTier& tier, std::vector<Block> blocks) : tier_(tier), blocks_(std::move(blocks)) {}

  std::uint64_t read_to(std::size_t parts, const std::function<void(std::size_t, BlockStatus)>& failed) override {
    std::vector<IoOp> ops;
    std::vector<Block*> reading;
    for (Block& block : blocks_) {
      const std::size_t end = round_to_io_page(block.record->part_end(parts - 1));
      if (end <= block.here) continue;
      ops.push_back({.fd = block.place.segment->fd(),
                     .offset = block.place.offset + block.here,
                     .bytes = block.memory.subspan(block.here, end - block.here),
                     .error = EIO});
      reading.push_back(&block);
    }
    tier_.io_->run(ops);
    std::uint64_t bytes = 0, failures = 0;
    for (std::size_t i = 0; i < ops.size(); ++i) {
      if (ops[i].error == 0) {
        reading[i]->here += ops[i].bytes.size();
        bytes += ops[i].bytes.size();
        continue;
      }
      ++failures;
      failed(reading[i]->index, ops[i].error == ENODATA ? BlockStatus::kCorrupt : BlockStatus::kBroken);
    }
    const std::lock_guard lock(tier_.mutex_);
    tier_.stats_.bytes_read += bytes;
    tier_.stats_.failures += failures;
    return bytes;
  }

 private:
  DiskTier& tier_;
  std::vector<Block> blocks_;
};

std::unique_ptr<PartReads> DiskTier::get_by_parts(std::span<const Digest> keys, Deadline deadline,
                                                  const GetSink& sink) {
  std::size_t next = 0;
  std::vector<Read> reads = prepare_reads(keys, next, SIZE_MAX, deadline, sink);
  for (Read& read : reads) read.op.bytes = read.op.bytes.first(std::min(read.op.bytes.size(), kHeadBytes));
  run_reads(reads);
  std::vector<Parts::Block> blocks;
  for (Read& read : reads) {
    if (read.op.error == 0 && stated_header_bytes(read.bytes.span()) > read.op.bytes.size()) {
      read.op.bytes = read.bytes.span();
      run_reads({&read, 1});
    }
    auto record = deliver(keys[read.index], read, /*whole=*/false, sink);
    if (record == nullptr) continue;
    // Delivering may have found that the block lies elsewhere by now.
    const std::span<std::byte> memory(read.op.bytes.data(), record->size());
    blocks.push_back({.index = read.index,
                      .record = std::move(record),
                      .memory = memory,
                      .place = std::move(read.place),
                      .use = std::move(read.use),
                      .here = read.op.bytes.size()});
  }
  return std::make_unique<Parts>(*this, std::move(blocks));
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/store.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "cairn/base/check.h"

namespace cairn {
namespace {

// Blocks asked for at a time: enough for a deep queue, few enough that the first can be used early.
constexpr std::size_t kReadBlocks = 8;
constexpr std::size_t kWriteBlocks = 16;

std::int64_t nanoseconds(Deadline time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

double seconds_since(Deadline start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

LoadedBlock PrefixLoad::wait(std::size_t i) {
  CAIRN_CHECK(i < keys_.size());
  std::unique_lock lock(mutex_);
  arrived_.wait_until(lock, deadline_, [&] {
    return blocks_.size() > i || (!blocks_.empty() && blocks_.back().status != BlockStatus::kOk);
  });
  if (blocks_.size() > i) return blocks_[i];
  if (!blocks_.empty() && blocks_.back().status != BlockStatus::kOk) return {.status = blocks_.back().status};
  abandon();
  return {.status = BlockStatus::kTimeout};
}

void PrefixLoad::deliver(LoadedBlock block) {
  {
    const std::lock_guard lock(mutex_);
    blocks_.push_back(std::move(block));
  }
  arrived_.notify_all();
}

Store::Store(StoreOptions options)
    : options_(std::move(options)),
      tiers_(std::move(options_.tiers)),
      rates_(std::make_unique<ReadRate[]>(tiers_.size())),
      rests_until_(std::make_unique<std::atomic<std::int64_t>[]>(tiers_.size())) {
  CAIRN_CHECK(!tiers_.empty());
  reader_ = std::thread([this] { read_loop(); });
  writer_ = std::thread([this] { write_loop(); });
}

Store::~Store() {
  (void)flush(deadline_in(options_.write_deadline));
  {
    const std::lock_guard lock(mutex_);
    stop_ = stop_writing_ = true;
    writes_dropped_ += to_write_.size();
    to_write_.clear();
    to_read_.clear();
  }
  work_.notify_all();
  reader_.join();
  writer_.join();
}

bool Store::resting(std::size_t tier) const {
  return nanoseconds(std::chrono::steady_clock::now()) < rests_until_[tier].load(std::memory_order_relaxed);
}

// One slow answer costs its caller a deadline; the next ones should not pay again.
void Store::note_timeout(std::size_t tier, Deadline started) {
  if (started + std::chrono::milliseconds(50) > std::chrono::steady_clock::now()) return;  // the caller was late, not the tier
  rests_until_[tier].store(nanoseconds(deadline_in(options_.rest)), std::memory_order_relaxed);
}

std::shared_ptr<PrefixLoad> Store::load(std::vector<Digest> keys, Deadline deadline) {
  std::shared_ptr<PrefixLoad> load(new PrefixLoad(std::move(keys), deadline));
  loads_.fetch_add(1, std::memory_order_relaxed);
  if (load->keys_.empty()) return load;
  {
    const std::lock_guard lock(mutex_);
    to_read_.push_back(load);
  }
  work_.notify_all();
  return load;
}

void Store::read_loop() {
  for (;;) {
    std::shared_ptr<PrefixLoad> load;
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [&] { return stop_ || !to_read_.empty(); });
      if (stop_) return;
      load = std::move(to_read_.front());
      to_read_.pop_front();
    }
    try {
      serve(*load);
    } catch (const std::exception&) {  // memory, threads: this load ends, the next may fare better
      load->deliver({.status = BlockStatus::kBroken});
    }
  }
}

void Store::serve(PrefixLoad& load) {
  const std::span<const Digest> keys = load.keys_;
  for (std::size_t next = 0; next < keys.size();) {
    if (passed(load.deadline_) || load.abandoned_.load(std::memory_order_relaxed)) {
      load_timeouts_.fetch_add(1, std::memory_order_relaxed);
      load.deliver({.status = BlockStatus::kTimeout});
      return;
    }
    // The first answer comes soon, later ones in larger portions.
    const std::size_t count = std::min(next == 0 ? kReadBlocks / 4 : kReadBlocks, keys.size() - next);
    for (LoadedBlock& block : read_some(keys.subspan(next, count), load.deadline_)) {
      const bool ended = block.status != BlockStatus::kOk;
      if (!ended) blocks_loaded_.fetch_add(1, std::memory_order_relaxed);
      load.deliver(std::move(block));
      if (ended) return;
    }
    next += count;
  }
}

// From the first tier that has each; found blocks are put into the volatile tiers above.
std::vector<LoadedBlock> Store::read_some(std::span<const Digest> keys, Deadline deadline) {
  std::vector<LoadedBlock> blocks(keys.size(), {.status = BlockStatus::kMiss});
  std::vector<std::size_t> open(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) open[i] = i;
  for (std::size_t t = 0; t < tiers_.size() && !open.empty(); ++t) {
    if (resting(t)) continue;
    std::vector<Digest> wanted;
    for (const std::size_t i : open) wanted.push_back(keys[i]);
    const Deadline start = std::chrono::steady_clock::now();
    std::uint64_t bytes = 0;
    bool late = false;
    tiers_[t]->get(wanted, deadline, [&](std::size_t w, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
      LoadedBlock& block = blocks[open[w]];
      late |= status == BlockStatus::kTimeout;
      if (status == BlockStatus::kOk) {
        bytes += record->size();
        block = {status, std::move(record), t};
      } else if (status != BlockStatus::kMiss) {
        block.status = status;  // tells more than a miss below
      }
    });
    rates_[t].observe(static_cast<double>(bytes), seconds_since(start));
    if (late) note_timeout(t, start);
    std::erase_if(open, [&](std::size_t i) { return blocks[i].status == BlockStatus::kOk; });
  }
  for (LoadedBlock& block : blocks) {
    if (block.status != BlockStatus::kOk || block.tier == 0) continue;
    promotions_.fetch_add(1, std::memory_order_relaxed);
    enqueue({block.record, 0, block.tier - 1});
  }
  return blocks;
}

std::vector<std::size_t> Store::locate(std::span<const Digest> keys, Deadline deadline) {
  std::vector<std::size_t> found(keys.size(), tiers_.size());
  for (std::size_t t = 0; t < tiers_.size(); ++t) {
    const auto first = std::ranges::find(found, tiers_.size());
    if (first == found.end()) break;
    if (resting(t)) continue;
    const std::size_t from = static_cast<std::size_t>(first - found.begin());
    const Deadline start = std::chrono::steady_clock::now();
    const std::vector<BlockStatus> statuses = tiers_[t]->contains(keys.subspan(from), deadline);
    for (std::size_t i = 0; i < statuses.size(); ++i) {
      if (statuses[i] == BlockStatus::kOk) found[from + i] = std::min(found[from + i], t);
    }
    if (std::ranges::find(statuses, BlockStatus::kTimeout) != statuses.end()) note_timeout(t, start);
  }
  found.erase(std::ranges::find(found, tiers_.size()), found.end());
  return found;
}

bool Store::write(BlockMeta meta, std::span<const std::span<const std::byte>> contents) {
  const std::size_t bytes = BlockRecord::bytes_for(meta.parts, options_.key.has_value());
  {
    // Before work is spent on what would be dropped.
    const std::lock_guard lock(mutex_);
    if (stop_writing_ || queued_bytes_ + bytes > options_.queue_bytes) {
      writes_dropped_.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
  }
  meta.created_s = static_cast<std::int64_t>(std::time(nullptr));
  if (options_.ttl_s > 0) meta.expires_s = meta.created_s + options_.ttl_s;
  const StoreKey* key = options_.key ? &*options_.key : nullptr;
  return enqueue({BlockRecord::build(std::move(meta), contents, key), 0, tiers_.size() - 1});
}

bool Store::enqueue(Queued write) {
  {
    const std::lock_guard lock(mutex_);
    const std::size_t bytes = write.record->size();
    if (stop_writing_ || queued_bytes_ + bytes > options_.queue_bytes) {
      writes_dropped_.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    queued_bytes_ += bytes;
    to_write_.push_back(std::move(write));
  }
  work_.notify_all();
  return true;
}

void Store::write_loop() {
  for (;;) {
    std::vector<Queued> batch;
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [&] { return stop_writing_ || !to_write_.empty(); });
      if (stop_writing_) return;
      while (!to_write_.empty() && batch.size() < kWriteBlocks) {
        batch.push_back(std::move(to_write_.front()));
        to_write_.pop_front();
      }
    }
    try {
      write_batch(batch);
    } catch (const std::exception&) {
      writes_failed_.fetch_add(batch.size(), std::memory_order_relaxed);
    }
    std::size_t bytes = 0;
    for (const Queued& write : batch) bytes += write.record->size();
    batch.clear();
    {
      const std::lock_guard lock(mutex_);
      queued_bytes_ -= bytes;
    }
    idle_.notify_all();
  }
}

void Store::write_batch(std::vector<Queued>& batch) {
  for (std::size_t t = 0; t < tiers_.size(); ++t) {
    std::vector<std::shared_ptr<const BlockRecord>> records;
    for (const Queued& write : batch) {
      if (write.first_tier <= t && t <= write.last_tier) records.push_back(write.record);
    }
    if (records.empty()) continue;
    if (resting(t)) {
      writes_dropped_.fetch_add(records.size(), std::memory_order_relaxed);
      continue;
    }
    const Deadline start = std::chrono::steady_clock::now();
    const std::vector<BlockStatus> statuses = tiers_[t]->put(records, deadline_in(options_.write_deadline));
    for (const BlockStatus status : statuses) {
      (status == BlockStatus::kOk ? writes_ : writes_failed_).fetch_add(1, std::memory_order_relaxed);
    }
    if (std::ranges::find(statuses, BlockStatus::kTimeout) != statuses.end()) note_timeout(t, start);
  }
}

Status Store::flush(Deadline deadline) {
  {
    std::unique_lock lock(mutex_);
    if (!idle_.wait_until(lock, deadline, [&] { return queued_bytes_ == 0; })) {
      return fail(ErrorCode::kIo, "the store did not write everything in time: " + std::to_string(queued_bytes_) +
                                      " bytes are left");
    }
  }
  for (const std::unique_ptr<Tier>& tier : tiers_) CAIRN_TRY_VOID(tier->flush(deadline));
  return {};
}

bool Store::copy_part(const LoadedBlock& block, std::size_t part, std::span<std::byte> out) {
  if (block.record->copy_part(part, out, options_.key ? &*options_.key : nullptr)) return true;
  // Blocks under another key, or under none, are no damage.
  if (block.record->intact()) return false;
  tiers_[block.tier]->report_corrupt(block.record->meta().key);  // tiers below may have it sound
  return false;
}

double Store::expected_seconds(std::size_t tier, std::uint64_t bytes) const {
  const double rate = rates_[tier].per_second();
  return rate == 0 ? 0 : static_cast<double>(bytes) / rate;
}

StoreStats Store::stats() const {
  StoreStats stats{.loads = loads_, .blocks_loaded = blocks_loaded_, .load_timeouts = load_timeouts_,
                   .writes = writes_, .writes_dropped = writes_dropped_, .writes_failed = writes_failed_,
                   .promotions = promotions_};
  {
    const std::lock_guard lock(mutex_);
    stats.queued_bytes = queued_bytes_;
  }
  for (std::size_t t = 0; t < tiers_.size(); ++t) {
    stats.tiers.push_back({tiers_[t]->name(), tiers_[t]->stats(), rates_[t].per_second(), resting(t)});
  }
  return stats;
}

}  // namespace cairn

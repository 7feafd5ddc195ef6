// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/store.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/store/disk/disk_tier.h"
#include "cairn/store/ram_tier.h"
#include "cairn/store/redis/redis_tier.h"

namespace cairn {
namespace {

constexpr std::size_t kWriteBlocks = 16;

std::int64_t nanoseconds(Deadline time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

}  // namespace

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
  if (started + std::chrono::milliseconds(50) > std::chrono::steady_clock::now())
    return;  // the caller was late, not the tier
  rests_until_[tier].store(nanoseconds(deadline_in(options_.rest)), std::memory_order_relaxed);
}

std::vector<std::size_t> Store::locate(std::span<const Digest> keys, Deadline deadline) {
  std::vector<std::size_t> found(keys.size(), tiers_.size());
  for (std::size_t t = 0; t < tiers_.size(); ++t) {
    const auto first = std::ranges::find(found, tiers_.size());
    if (first == found.end()) break;
    if (resting(t)) continue;
    const std::size_t from = static_cast<std::size_t>(first - found.begin());
    const Deadline start = std::chrono::steady_clock::now();
    const std::vector<BlockStatus> statuses = tiers_[t]->lease(keys.subspan(from), deadline);
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
    std::size_t bytes = 0;
    for (const Queued& write : batch) bytes += write.record->size();
    try {
      write_batch(batch);
    } catch (const std::exception&) {
      writes_failed_.fetch_add(batch.size(), std::memory_order_relaxed);
    }
    batch.clear();
    {
      const std::lock_guard lock(mutex_);
      queued_bytes_ -= bytes;
    }
    idle_.notify_all();
  }
}

// A tier leaves a block alone that it has already. One that was seen to hold damage may hold more, which a prefix that
// ended at the first does not meet: blocks that are at hand are a reason to look at theirs.
void Store::erase_damaged(Tier& tier, std::span<const std::shared_ptr<const BlockRecord>> records) const {
  std::vector<Digest> keys;
  for (const auto& record : records) keys.push_back(record->meta().key);
  tier.get(keys, deadline_in(options_.write_deadline),
           [&](std::size_t i, BlockStatus status, const std::shared_ptr<const BlockRecord>& there) {
             if (status == BlockStatus::kOk && !there->intact()) tier.report_corrupt(keys[i]);
           });
}

void Store::write_batch(std::vector<Queued>& batch) {
  // Damage must not rise: there it would stand in the way of the sound block.
  std::erase_if(batch, [&](const Queued& write) {
    if (!write.from || write.record->intact()) return false;
    tiers_[*write.from]->report_corrupt(write.record->meta().key);
    return true;
  });
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
    if (tiers_[t]->stats().corrupt > 0) erase_damaged(*tiers_[t], records);
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
      return fail(ErrorCode::kIo,
                  "the store did not write everything in time: " + std::to_string(queued_bytes_) + " bytes are left");
    }
  }
  for (const std::unique_ptr<Tier>& tier : tiers_) CAIRN_TRY_VOID(tier->flush(deadline));
  return {};
}

bool Store::copy_part(const LoadedBlock& block, std::size_t part, std::span<std::byte> out) {
  if (block.record->copy_part(part, out, options_.key ? &*options_.key : nullptr)) return true;
  // Blocks under another key, or under none where there is one, are no damage.
  const bool readable = !block.record->encrypted() && !options_.key;
  if (!readable && block.record->part_intact(part)) return false;
  tiers_[block.tier]->report_corrupt(block.record->meta().key);  // tiers below may have it sound
  return false;
}

double Store::expected_seconds(std::size_t tier, std::uint64_t bytes) const {
  const double rate = rates_[tier].per_second();
  return rate == 0 ? 0 : static_cast<double>(bytes) / rate;
}

StoreStats Store::stats() const {
  StoreStats stats{.loads = loads_,
                   .blocks_loaded = blocks_loaded_,
                   .load_timeouts = load_timeouts_,
                   .writes = writes_,
                   .writes_dropped = writes_dropped_,
                   .writes_failed = writes_failed_,
                   .promotions = promotions_};
  {
    const std::lock_guard lock(mutex_);
    stats.queued_bytes = queued_bytes_;
  }
  for (std::size_t t = 0; t < tiers_.size(); ++t) {
    stats.tiers.push_back(
        {tiers_[t]->name(), tiers_[t]->stats(), tiers_[t]->read_only(), rates_[t].per_second(), resting(t)});
  }
  return stats;
}

Result<std::uint64_t> parse_bytes(const std::string& text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit(end, text.data() + text.size());
  unsigned shift = 0;
  bool known = error == std::errc();
  if (unit == "KiB" || unit == "K") {
    shift = 10;
  } else if (unit == "MiB" || unit == "M") {
    shift = 20;
  } else if (unit == "GiB" || unit == "G") {
    shift = 30;
  } else if (unit == "TiB" || unit == "T") {
    shift = 40;
  } else if (!unit.empty() && unit != "B") {
    known = false;
  }
  if (!known || number > UINT64_MAX >> shift) {
    return fail(ErrorCode::kInvalidArgument, "'" + text + "' is no size: write 512MiB or 10GiB");
  }
  return number << shift;
}

Result<std::unique_ptr<Tier>> open_tier(const std::string& text, const StoreConfig& config) {
  ResidencyOptions residency{.tenant_budget_bytes = config.tenant_bytes, .policy = config.eviction};
  if (text.starts_with("ram:")) {
    CAIRN_TRY(residency.budget_bytes, parse_bytes(text.substr(4)));
    if (residency.budget_bytes == 0) return fail(ErrorCode::kInvalidArgument, "'" + text + "' holds nothing");
    CAIRN_TRY(auto tier, RamTier::create(std::move(residency)));
    return tier;
  }
  if (text.starts_with("redis://") || text.starts_with("rediss://") || text.starts_with("unix://")) {
    RedisTierOptions options{.url = text};
    if (config.ttl_s > 0) options.ttl = std::chrono::seconds(config.ttl_s);
    return redis::open_tier(std::move(options));
  }
  if (const std::size_t colon = text.find("://"); colon != std::string::npos) {
    return fail(ErrorCode::kInvalidArgument,
                "'" + text.substr(0, colon) + "' is no kind of store: give a folder, ram:SIZE or redis://HOST");
  }
  if (text.empty()) return fail(ErrorCode::kInvalidArgument, "the store's name is empty: give a folder");
  residency.budget_bytes = config.disk_bytes;
  if (config.disk_bytes == 0)
    return fail(ErrorCode::kInvalidArgument, "a store of 0 bytes in '" + text + "' holds nothing");
  CAIRN_TRY(auto tier,
            DiskTier::open({.folder = text, .residency = std::move(residency), .read_only = config.read_only}));
  return tier;
}

namespace {

// What some blocks say about the key when it reads none of them: a store may hold blocks from before there was a key.
// Empty also when nothing is known at once.
std::string key_trouble(Tier& tier, const StoreKey* key) {
  if (tier.stats().blocks == 0) return {};
  const Deadline deadline = deadline_in(std::chrono::seconds(1));
  constexpr std::size_t kSamples = 8;
  std::vector<Digest> keys;
  const auto take = [&](const StoredBlock& block) {
    keys.push_back(block.meta.key);
    return keys.size() < kSamples;
  };
  (void)tier.list(take, deadline);
  std::string_view why;
  bool readable = false;
  for (std::size_t i = 0; i < keys.size() && !readable; ++i) {
    tier.get({&keys[i], 1}, deadline, [&](std::size_t, BlockStatus, std::shared_ptr<const BlockRecord> record) {
      if (record == nullptr || !record->sound()) return;
      const std::string_view reason = record->unreadable_with(key);
      readable = reason.empty();
      why = reason;
    });
  }
  return why.empty() ? "" : "blocks in " + tier.name() + " are of no use here: " + std::string(why);
}

}  // namespace

Result<OpenedStore> open_store(const StoreConfig& config) {
  StoreOptions options{.ttl_s = config.ttl_s};
  if (!config.key_file.empty()) {
    CAIRN_TRY(options.key, StoreKey::from_file(config.key_file));
  }
  OpenedStore opened;
  for (const std::string& text : config.tiers) {
    Result<std::unique_ptr<Tier>> tier = open_tier(text, config);
    if (tier) {
      const std::string trouble = key_trouble(**tier, options.key ? &*options.key : nullptr);
      if (!trouble.empty() && config.required) return fail(ErrorCode::kInvalidArgument, trouble);
      if (!trouble.empty()) opened.warnings.push_back(trouble);
      if (std::string foreign = foreign_warning(**tier); !foreign.empty())
        opened.warnings.push_back(std::move(foreign));
      options.tiers.push_back(*std::move(tier));
    } else if (config.required) {
      return std::unexpected(std::move(tier).error());
    } else {
      opened.warnings.push_back("going on without this store: " + std::move(tier).error().message);
    }
  }
  if (!options.tiers.empty()) opened.store = std::make_shared<Store>(std::move(options));
  return opened;
}

}  // namespace cairn

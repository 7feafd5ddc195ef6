// SPDX-License-Identifier: Apache-2.0
// How loads are served: one thread reads, tier after tier, and delivers what it has as soon as it is there.
#include <algorithm>
#include <numeric>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/base/clock.h"
#include "cairn/store/store.h"

namespace cairn {
namespace {

// Blocks asked for at a time: enough for a deep queue, few enough that the first can be used early.
constexpr std::size_t kReadBlocks = 8;
// Of each block at a time, when loading by part: smaller reads would cost more than they bring forward.
constexpr std::size_t kStripeBytes = std::size_t{128} << 10;

}  // namespace

LoadedBlock PrefixLoad::wait(std::size_t i) {
  CAIRN_CHECK(i < keys_.size());
  std::unique_lock lock(mutex_);
  arrived_.wait_until(lock, deadline_, [&] {
    return ended_ || blocks_.size() > i || (!blocks_.empty() && blocks_.back().status != BlockStatus::kOk);
  });
  if (blocks_.size() > i) return blocks_[i];
  if (!blocks_.empty() && blocks_.back().status != BlockStatus::kOk) return {.status = blocks_.back().status};
  abandon();
  return {.status = BlockStatus::kTimeout};
}

std::optional<std::size_t> PrefixLoad::have_part_locked(std::size_t part) const {
  if (parts_ > part) return sound_;
  if (ended_) return 0;
  return std::nullopt;
}

std::optional<std::size_t> PrefixLoad::have_part(std::size_t part, std::chrono::milliseconds within) {
  std::unique_lock lock(mutex_);
  arrived_.wait_for(lock, within, [&] { return have_part_locked(part).has_value(); });
  return have_part_locked(part);
}

std::size_t PrefixLoad::wait_part(std::size_t part) {
  std::unique_lock lock(mutex_);
  arrived_.wait_until(lock, deadline_, [&] { return have_part_locked(part).has_value(); });
  if (const auto blocks = have_part_locked(part)) return *blocks;
  abandon();
  return 0;
}

std::optional<double> PrefixLoad::seconds_left() const {
  const std::lock_guard lock(mutex_);
  if (ended_) return 0;
  const double here = static_cast<double>(bytes_here_.load(std::memory_order_relaxed));
  if (here == 0) return std::nullopt;
  const double passed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  const double all = static_cast<double>(block_bytes_.load(std::memory_order_relaxed) * keys_.size());
  return std::max(0.0, all - here) * passed_s / here;
}

void PrefixLoad::deliver(LoadedBlock block) {
  {
    const std::lock_guard lock(mutex_);
    blocks_.push_back(std::move(block));
  }
  arrived_.notify_all();
}

void PrefixLoad::deliver_parts(std::size_t parts, std::size_t blocks) {
  {
    const std::lock_guard lock(mutex_);
    parts_ = parts;
    sound_ = blocks;
  }
  arrived_.notify_all();
}

void PrefixLoad::end() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  arrived_.notify_all();
}

std::shared_ptr<PrefixLoad> Store::load(std::vector<Digest> keys, Deadline deadline, LoadOrder order) {
  std::shared_ptr<PrefixLoad> load(new PrefixLoad(std::move(keys), deadline, order));
  loads_.fetch_add(1, std::memory_order_relaxed);
  if (load->keys_.empty()) {
    load->end();
    return load;
  }
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
    load->end();
  }
}

void Store::serve(PrefixLoad& load) {
  {
    const std::lock_guard lock(load.mutex_);
    load.started_ = std::chrono::steady_clock::now();
  }
  load.order_ == LoadOrder::kByBlock ? serve_by_block(load) : serve_by_part(load);
}

void Store::serve_by_block(PrefixLoad& load) {
  const std::span<const Digest> keys = load.keys_;
  for (std::size_t next = 0; next < keys.size();) {
    if (passed(load.deadline_) || load.abandoned()) {
      load_timeouts_.fetch_add(1, std::memory_order_relaxed);
      load.deliver({.status = BlockStatus::kTimeout});
      return;
    }
    // The first answer comes soon, later ones in larger portions.
    const std::size_t count = std::min(next == 0 ? kReadBlocks / 4 : kReadBlocks, keys.size() - next);
    std::vector<LoadedBlock> blocks = read_some(load, keys.subspan(next, count), nullptr);
    promote(blocks);
    for (LoadedBlock& block : blocks) {
      const bool ended = block.status != BlockStatus::kOk;
      if (!ended) blocks_loaded_.fetch_add(1, std::memory_order_relaxed);
      load.deliver(std::move(block));
      if (ended) return;
    }
    next += count;
  }
}

void Store::serve_by_part(PrefixLoad& load) {
  std::vector<OpenReads> open;
  std::vector<LoadedBlock> blocks = read_some(load, load.keys_, &open);
  const auto miss = std::ranges::find_if(blocks, [&](const LoadedBlock& block) {
    return block.status != BlockStatus::kOk ||
           block.record->meta().parts.size() != blocks.front().record->meta().parts.size();
  });
  if (miss != blocks.end() && miss->status == BlockStatus::kTimeout) {
    load_timeouts_.fetch_add(1, std::memory_order_relaxed);
  }
  blocks.erase(miss, blocks.end());
  for (const LoadedBlock& block : blocks) load.deliver(block);
  const std::size_t sound = blocks.empty() ? 0 : read_parts(load, open, blocks);
  blocks.resize(sound);
  promote(blocks);
}

// Returns how many leading blocks have all parts.
std::size_t Store::read_parts(PrefixLoad& load, std::span<OpenReads> open, std::span<const LoadedBlock> blocks) {
  const BlockRecord& first = *blocks.front().record;
  const std::size_t parts = first.meta().parts.size();
  std::size_t sound = blocks.size();
  for (std::size_t next = 0; next < parts;) {
    if (passed(load.deadline_) || load.abandoned()) {
      load_timeouts_.fetch_add(1, std::memory_order_relaxed);
      return 0;
    }
    std::size_t end = next + 1;
    const std::size_t from = next == 0 ? 0 : first.part_end(next - 1);
    while (end < parts && (open.empty() || first.part_end(end) - from <= kStripeBytes)) ++end;
    for (OpenReads& reads : open) {
      const Deadline start = std::chrono::steady_clock::now();
      const std::uint64_t bytes =
          reads.reads->read_to(end, [&](std::size_t i, BlockStatus) { sound = std::min(sound, reads.blocks[i]); });
      load.count(bytes);
      rates_[reads.tier].observe(static_cast<double>(bytes), seconds_since(start));
    }
    // Counted before the last parts are delivered, so that a caller who has its blocks also sees them in the stats.
    if (end == parts) blocks_loaded_.fetch_add(sound, std::memory_order_relaxed);
    load.deliver_parts(end, sound);
    next = end;
  }
  return sound;
}

// From the first tier that has each.
std::vector<LoadedBlock> Store::read_some(PrefixLoad& load, std::span<const Digest> keys,
                                          std::vector<OpenReads>* open) {
  std::vector<LoadedBlock> blocks(keys.size(), {.status = BlockStatus::kMiss});
  std::vector<std::size_t> missing(keys.size());
  std::iota(missing.begin(), missing.end(), std::size_t{0});
  for (std::size_t t = 0; t < tiers_.size() && !missing.empty(); ++t) {
    if (resting(t)) continue;
    const bool by_parts = open != nullptr && tiers_[t]->reads_parts();
    // Whole blocks come in portions, between which a load can be abandoned.
    const std::size_t portion = by_parts || open == nullptr ? missing.size() : kReadBlocks;
    for (std::size_t first = 0; first < missing.size() && !load.abandoned(); first += portion) {
      const auto asked = std::span(missing).subspan(first, std::min(portion, missing.size() - first));
      std::vector<Digest> wanted;
      for (const std::size_t i : asked) wanted.push_back(keys[i]);
      const Deadline start = std::chrono::steady_clock::now();
      std::uint64_t bytes = 0;
      bool late = false;
      const Tier::GetSink sink = [&](std::size_t w, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
        LoadedBlock& block = blocks[asked[w]];
        late |= status == BlockStatus::kTimeout;
        if (status == BlockStatus::kOk) {
          bytes += record->size();
          load.expect(record->size());
          if (!by_parts) load.count(record->size());
          block = {status, std::move(record), t};
        } else if (status != BlockStatus::kMiss) {
          block.status = status;  // tells more than a miss below
        }
      };
      if (by_parts) {
        auto reads = tiers_[t]->get_by_parts(wanted, load.deadline_, sink);
        if (bytes > 0) open->push_back({t, std::move(reads), {asked.begin(), asked.end()}});
      } else {
        tiers_[t]->get(wanted, load.deadline_, sink);
        rates_[t].observe(static_cast<double>(bytes), seconds_since(start));
      }
      if (late) note_timeout(t, start);
      // A prefix ends with the first block that is missing; a tier below may have it.
      if (t + 1 == tiers_.size() &&
          std::ranges::any_of(asked, [&](std::size_t i) { return blocks[i].status != BlockStatus::kOk; })) {
        break;
      }
    }
    std::erase_if(missing, [&](std::size_t i) { return blocks[i].status == BlockStatus::kOk; });
  }
  return blocks;
}

// What was found below goes into the tiers above.
void Store::promote(std::span<const LoadedBlock> blocks) {
  for (const LoadedBlock& block : blocks) {
    if (block.status != BlockStatus::kOk || block.tier == 0) continue;
    promotions_.fetch_add(1, std::memory_order_relaxed);
    enqueue({block.record, 0, block.tier - 1, block.tier});
  }
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// A tier whose blocks come late, in parts, damaged or not at all.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cairn/store/ram_tier.h"
#include "cairn/store/tier.h"

namespace cairn {

// Memory that answers slowly, part by part if told so, and turns a bit of what it is told to. Members are set while no
// load is under way, save the atomic ones.
class SlowTier final : public Tier {
 public:
  std::chrono::microseconds per_block{0};
  bool by_parts = false;
  std::size_t reads = 1;  // that a block's bytes come in, by parts
  struct Damage {
    std::size_t block, part;
  };
  std::optional<Damage> damage{};
  std::atomic<bool> gate{true};  // false: by parts nothing comes but the tokens, until somebody opens and notifies it
  std::atomic<std::size_t> reports{0};
  std::atomic<bool> hangs{false};
  std::atomic<std::int64_t> longest_wait_ms{0};  // as a caller of contains() allowed

  std::string name() const override { return "slow"; }
  bool durable() const override { return false; }
  std::vector<BlockStatus> contains(std::span<const Digest> keys, Deadline deadline) override {
    if (!hangs) return inner_->contains(keys, deadline);
    longest_wait_ms = std::max<std::int64_t>(
        longest_wait_ms,
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Deadline::clock::now()).count());
    std::this_thread::sleep_until(deadline);
    return std::vector(keys.size(), BlockStatus::kTimeout);
  }
  void get(std::span<const Digest> keys, Deadline deadline, const GetSink& sink) override {
    inner_->get(keys, deadline, [&](std::size_t i, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
      if (!by_parts) std::this_thread::sleep_for(per_block);
      if (record != nullptr && damage && damage->block == record->meta().depth) record = damaged(*record);
      sink(i, status, std::move(record));
    });
  }
  std::unique_ptr<PartReads> get_by_parts(std::span<const Digest> keys, Deadline deadline,
                                          const GetSink& sink) override {
    struct Slowly final : PartReads {
      std::chrono::microseconds each;
      std::atomic<bool>* gate = nullptr;
      std::uint64_t bytes = 0;
      std::size_t here = 0;
      std::uint64_t read_to(std::size_t parts, const std::function<void(std::size_t, BlockStatus)>&) override {
        if (here > 0) gate->wait(false);
        const std::size_t more = parts - std::exchange(here, parts);
        std::this_thread::sleep_for(more * each);
        return more * bytes;
      }
    };
    auto into = std::make_unique<Slowly>();
    into->gate = &gate;
    get(keys, deadline, [&](std::size_t i, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
      if (record != nullptr) into->bytes += record->size() / reads;
      sink(i, status, std::move(record));
    });
    into->each = per_block * keys.size() / static_cast<std::int64_t>(reads);
    return into;
  }
  bool reads_parts() const override { return by_parts; }
  std::vector<BlockStatus> put(std::span<const std::shared_ptr<const BlockRecord>> records,
                               Deadline deadline) override {
    return inner_->put(records, deadline);
  }
  std::vector<BlockStatus> replace(std::span<const std::shared_ptr<const BlockRecord>> records, Deadline d) override {
    return inner_->replace(records, d);
  }
  std::vector<BlockStatus> erase(std::span<const Digest> keys, Deadline deadline) override {
    return inner_->erase(keys, deadline);
  }
  BlockStatus pin(const Digest& key, std::int64_t until_s) override { return inner_->pin(key, until_s); }
  void report_corrupt(const Digest& key) override {
    ++reports;
    inner_->report_corrupt(key);
  }
  Status list(const std::function<bool(const StoredBlock&)>& visitor, Deadline deadline) override {
    return inner_->list(visitor, deadline);
  }
  void describe_recipe(const Digest& recipe, const std::string& text) override {
    inner_->describe_recipe(recipe, text);
  }
  std::map<Digest, std::string> recipes() override { return inner_->recipes(); }
  TierStats stats() const override { return inner_->stats(); }

 private:
  std::shared_ptr<const BlockRecord> damaged(const BlockRecord& record) const {
    RecordBytes bytes = record.stamped(0);
    bytes.data()[record.part_end(damage->part - 1)] ^= std::byte{1};
    return *BlockRecord::parse(std::move(bytes), 0);
  }
  std::unique_ptr<RamTier> inner_ = *RamTier::create({.budget_bytes = std::size_t{64} << 20});
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Stored blocks in a folder: append-only segments, an index in memory, a checkpoint of it, and a scan where that fails.
//
//   FOLDER/cairn-store     one line with the format's version: what makes the folder a store
//   FOLDER/lock            locked by the one process that writes; others read
//   FOLDER/checkpoint      the index, now and then
//   FOLDER/segments/*.seg  records, see segment.h
//   FOLDER/recipes/*       what recipes mean, for people
//   FOLDER/gone            why blocks are not there any more, as of the last checkpoint
//
// A put is acknowledged after its records were written and synchronised; many share one synchronisation. After a crash
// what was acknowledged is there, and what was not is there as a whole or not at all.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cairn/store/disk/checkpoint.h"
#include "cairn/store/disk/disk_io.h"
#include "cairn/store/disk/segment.h"
#include "cairn/store/residency.h"
#include "cairn/store/tier.h"

namespace cairn {

struct DiskTierOptions {
  std::string folder;
  ResidencyOptions residency{};
  std::uint64_t segment_bytes = std::uint64_t{256} << 20;
  std::uint64_t min_free_bytes = std::uint64_t{512} << 20;  // of the file system; below it nothing is written
  std::uint64_t checkpoint_bytes = std::uint64_t{1} << 30;  // written between two checkpoints
  bool sync = true;  // false: acknowledged blocks survive the process, but not the machine
  bool read_only = false;
  std::unique_ptr<DiskIo> io{};  // instead of the best there is
};

class DiskTier final : public Tier {
 public:
  // Makes the folder where there is none. kInvalidArgument when it is not a store and not empty, kUnsupported for a
  // newer format, kIo when the system refuses. Where another process writes the store, this one only reads it.
  static Result<std::unique_ptr<DiskTier>> open(DiskTierOptions options);
  ~DiskTier() override;

  std::string name() const override { return "disk " + options_.folder; }
  bool durable() const override { return true; }
  std::vector<BlockStatus> contains(std::span<const Digest> keys, Deadline deadline) override;
  std::vector<BlockStatus> lease(std::span<const Digest> keys, Deadline deadline) override;
  void get(std::span<const Digest> keys, Deadline deadline, const GetSink& sink) override;
  std::unique_ptr<PartReads> get_by_parts(std::span<const Digest> keys, Deadline deadline,
                                          const GetSink& sink) override;
  bool reads_parts() const override { return true; }
  std::vector<BlockStatus> put(std::span<const std::shared_ptr<const BlockRecord>> records, Deadline deadline) override;
  std::vector<BlockStatus> replace(std::span<const std::shared_ptr<const BlockRecord>> records,
                                   Deadline deadline) override;
  std::vector<BlockStatus> erase(std::span<const Digest> keys, Deadline deadline) override;
  BlockStatus pin(const Digest& key, std::int64_t until_s) override;
  void report_corrupt(const Digest& key) override;
  Status list(const std::function<bool(const StoredBlock&)>& visitor, Deadline deadline) override;
  void describe_recipe(const Digest& recipe, const std::string& text) override;
  std::map<Digest, std::string> recipes() override;
  Gone what_became_of(const Digest& key) override;
  Status flush(Deadline deadline) override;
  TierStats stats() const override;

  ReadOnly read_only() const override { return read_only_; }

 private:
  struct Place {
    std::shared_ptr<Segment> segment;
    std::uint64_t offset = 0, bytes = 0;
    BlockMeta meta;  // without parts
  };
  // While it lives a block is being read: it is not evicted, and its space is not given to others.
  class Use {
   public:
    Use() = default;
    Use(DiskTier& tier, const Place& place, Deadline until);  // requires: mutex_ is held
    Use(Use&& other) noexcept : tier_(std::exchange(other.tier_, nullptr)), key_(other.key_), place_(other.place_) {}
    Use& operator=(Use&& other) noexcept {
      std::swap(tier_, other.tier_);
      std::swap(key_, other.key_);
      std::swap(place_, other.place_);
      return *this;
    }
    ~Use();
    void end();  // requires: mutex_ is held

   private:
    DiskTier* tier_ = nullptr;
    Digest key_;
    std::uint64_t place_ = 0;
  };
  struct Read {
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
  struct SegmentState {
    std::shared_ptr<Segment> segment;
    std::uint64_t end = 0;   // where the next record goes, or was last seen
    std::uint64_t live = 0;  // bytes of blocks that are indexed
    std::uint64_t dead = 0;  // that could not be given back
  };
  struct Write {
    std::size_t index = 0;
    Place place;
    RecordBytes header;
  };

  explicit DiskTier(DiskTierOptions options) : options_(std::move(options)) {}
  Status prepare_folder();
  Status take_lock();
  Status recover();
  Status scan_segments();
  bool sound(const Digest& key, const Place& place);
  void settle_doubles();
  void drop_torn(const Checkpoint* checkpoint);
  void give_back_gaps();
  void refresh();
  BlockStatus find(const Digest& key, Place* place);
  class Parts;
  std::vector<Read> prepare_reads(std::span<const Digest> keys, std::size_t& next, std::size_t max_bytes,
                                  Deadline leased_until, const GetSink& sink);
  void run_reads(std::span<Read> reads);
  BlockStatus judge(const Digest& key, Read& read, std::shared_ptr<const BlockRecord>& record) const;
  bool follow(const Digest& key, Read& read);
  std::shared_ptr<const BlockRecord> deliver(const Digest& key, Read& read, bool whole, const GetSink& sink);
  void note_foreign(const Digest& key, std::uint32_t version);
  void index_found(SegmentState& state, std::uint64_t offset, std::uint64_t bytes, const BlockMeta& meta);
  void forget(const Digest& key, Gone why);
  void release(const Place& place);
  void release_retired();
  Status open_active(std::uint64_t bytes);
  bool room_on_disk(std::uint64_t bytes) const;
  void drop_dead_space(std::uint64_t bytes);
  void retire_active();
  std::vector<Write> allocate(std::span<const std::shared_ptr<const BlockRecord>> records,
                              std::vector<BlockStatus>& statuses);
  std::vector<int> write_out(std::span<const std::shared_ptr<const BlockRecord>> records, std::span<Write> writes,
                             bool sync);
  void write_batch(std::span<const std::shared_ptr<const BlockRecord>> records, std::vector<BlockStatus>& statuses);
  std::vector<Write> allocate_beside(std::span<const std::shared_ptr<const BlockRecord>> records,
                                     std::vector<BlockStatus>& statuses);
  void replace_batch(std::span<const std::shared_ptr<const BlockRecord>> records, std::vector<BlockStatus>& statuses);
  Write place_at_end(std::size_t index, const BlockRecord& record);
  using WriteSome = void (DiskTier::*)(std::span<const std::shared_ptr<const BlockRecord>>, std::vector<BlockStatus>&);
  std::vector<BlockStatus> in_batches(std::span<const std::shared_ptr<const BlockRecord>> records, Deadline deadline,
                                      WriteSome write);
  Status checkpoint_now();

  DiskTierOptions options_;
  std::unique_ptr<DiskIo> io_;
  int lock_fd_ = -1;
  bool folder_is_gone() const;             // or its lock: somebody has removed or moved it under our hands
  ReadOnly read_only_ = ReadOnly::kAsked;  // until the lock is taken
  std::string note_;
  std::mutex write_mutex_;  // one put at a time; taken before mutex_

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::optional<Residency> residency_;
  std::unordered_map<Digest, Place, DigestHash> index_;
  std::map<std::uint32_t, SegmentState> segments_;
  EvictionHistory gone_;
  std::multiset<std::uint64_t> reading_;  // places of reads in flight, of who writes as well
  std::vector<Place> retired_;            // replaced, but being read
  std::vector<Place> doubles_;            // found by a scan beside another record of the same block
  std::uint32_t active_ = 0;              // 0: none
  std::uint32_t next_segment_ = 1;
  std::uint64_t dead_bytes_ = 0;
  std::uint64_t since_checkpoint_ = 0;
  bool can_punch_ = true;
  Deadline next_refresh_{};
  TierStats stats_;
};

}  // namespace cairn

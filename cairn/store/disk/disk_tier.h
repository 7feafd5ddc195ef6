// SPDX-License-Identifier: Apache-2.0
// Stored blocks in a folder: a segment log, an index in memory, and recovery, put together as a tier.
//
// A put is acknowledged after its records were written and synchronised; many share one synchronisation. After a crash
// what was acknowledged is there, and what was not is there as a whole or not at all.
//
// Who holds what:
//   write_mutex_  from choosing a place to making the record visible, and while a checkpoint is made: one put, replace
//                 or flush at a time. Taken before mutex_, never under it.
//   mutex_        the log's and the index's state and the figures. Never held while records are read or written, save
//                 in recovery; holes are punched and segments unlinked under it, so that no place is given away twice.
//   neither       reading and writing records: a Place keeps its file open, and a Use keeps the space.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cairn/store/disk/block_index.h"
#include "cairn/store/disk/disk_io.h"
#include "cairn/store/disk/segment_log.h"
#include "cairn/store/disk/store_folder.h"
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
  std::unique_ptr<disk::DiskIo> io{};  // instead of the best there is
};

class DiskTier final : public Tier {
 public:
  // Errors: those of disk::StoreFolder::open and Residency::create; kIo when the system refuses. Where another process
  // writes the store, this one only reads it.
  static Result<std::unique_ptr<DiskTier>> open(DiskTierOptions options);
  ~DiskTier() override;

  std::string name() const override { return "disk " + folder_.path(); }
  bool durable() const override { return true; }
  ReadOnly read_only() const override { return folder_.read_only(); }
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
  std::map<Digest, std::string> recipes() override { return folder_.recipes(); }
  Gone what_became_of(const Digest& key) override;
  Status flush(Deadline deadline) override;
  TierStats stats() const override;

 private:
  using Records = std::span<const std::shared_ptr<const BlockRecord>>;
  using Statuses = std::vector<BlockStatus>;
  class Use;
  struct Read;
  class Parts;
  using Write = disk::SegmentLog::Write;  // its index is that in the batch
  // Budgets first, then a place for each record that is let in; the others' statuses say why not. Takes mutex_.
  using Allocate = std::vector<Write> (DiskTier::*)(Records, Statuses&);
  // One record was written, or not (an errno): it becomes visible, or its space goes back. Requires: mutex_ is held.
  using Commit = BlockStatus (DiskTier::*)(const BlockMeta&, disk::Place, int error);

  DiskTier(DiskTierOptions options, disk::StoreFolder folder, std::unique_ptr<disk::DiskIo> io, disk::BlockIndex index);

  // Require: mutex_ is held.
  BlockStatus find(const Digest& key, disk::Place* place);
  void forget(const Digest& key, Gone why);
  void refresh();
  bool has_moved(const Digest& key, const disk::Place& place) const;

  // disk_tier_read.cc
  std::vector<Read> prepare_reads(std::span<const Digest> keys, std::size_t& next, std::size_t max_bytes,
                                  Deadline leased_until, const GetSink& sink);
  void run_reads(std::span<Read> reads);
  BlockStatus judge(const Digest& key, Read& read, std::shared_ptr<const BlockRecord>& record) const;
  bool follow(const Digest& key, Read& read);
  std::shared_ptr<const BlockRecord> deliver(const Digest& key, Read& read, bool whole, const GetSink& sink);

  // Writing.
  Statuses write_all(Records records, Deadline deadline, Allocate choose, Commit commit, bool sync);
  Statuses write_batch(Records records, Allocate choose, Commit commit, bool sync);
  std::vector<Write> allocate(Records records, Statuses& statuses);
  std::vector<Write> allocate_beside(Records records, Statuses& statuses);
  BlockStatus commit_new(const BlockMeta& meta, disk::Place place, int error);
  BlockStatus commit_other(const BlockMeta& meta, disk::Place place, int error);
  void drop_dead_space(std::uint64_t bytes);
  bool has_free(std::uint64_t bytes) const { return folder_.has_free(options_.min_free_bytes + bytes); }
  Status checkpoint_now();

  const DiskTierOptions options_;
  const disk::StoreFolder folder_;
  const std::unique_ptr<disk::DiskIo> io_;
  std::mutex write_mutex_;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  disk::SegmentLog log_;
  disk::BlockIndex index_;
  std::string note_;  // of opening
  std::uint64_t since_checkpoint_ = 0;
  Deadline next_refresh_{};
  TierStats stats_;
};

}  // namespace cairn

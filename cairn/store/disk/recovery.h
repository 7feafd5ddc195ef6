// SPDX-License-Identifier: Apache-2.0
// From a folder to an index: a checkpoint, then a scan of the segments from where it ends; and back, a checkpoint of
// the index. After a crash what was acknowledged is there, and what was not is there as a whole or not at all.
//
// Functions without state. Callers hold the tier's mutex for everything here that takes a log or an index, or are the
// only ones that have them. Nothing is kept of the references; what is returned owns all it says.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/store/disk/block_index.h"
#include "cairn/store/disk/segment_log.h"
#include "cairn/store/disk/store_folder.h"
#include "cairn/store/record/block_record.h"

namespace cairn::disk {

struct CheckpointBlock {
  BlockMeta meta;  // without parts
  std::uint32_t segment = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::int64_t pinned_until_s = 0;
};

// The index as a file, so that opening needs not look at every record. Only a hint: what it says is verified when a
// block is read, and a missing or damaged one costs a scan.
struct Checkpoint {
  std::map<std::uint32_t, std::uint64_t> segment_ends;  // records up to there are listed
  std::vector<CheckpointBlock> blocks;                  // in the order in which they were last used
};

Status write_checkpoint(const std::string& path, const Checkpoint& checkpoint);
// kNotFound, kIo, kCorrupt, kUnsupported (another version).
Result<Checkpoint> read_checkpoint(const std::string& path);

struct Recovered {
  std::string note;        // what a person should know; empty, or begins with ", "
  std::uint64_t torn = 0;  // blocks that a crash had left unfinished
};

// Fills an empty log and index. A process that writes keeps the budgets, gives back what no index names, and drops what
// a crash tore; one that reads leaves the folder as it is. A missing or damaged checkpoint costs a scan. kIo.
Result<Recovered> recover(const StoreFolder& folder, DiskIo& io, SegmentLog& log, BlockIndex& index);

// Indexes what another process has written since. Of two records of a block the later one is taken. kIo.
Status follow_writer(SegmentLog& log, BlockIndex& index);

// What the next start should know.
struct Snapshot {
  Checkpoint checkpoint;
  std::vector<std::byte> gone;
};
Snapshot snapshot(const SegmentLog& log, const BlockIndex& index);
// kIo. Needs no lock but the writer's: a checkpoint must not cover what is only being written.
Status save(const StoreFolder& folder, Snapshot snapshot);

}  // namespace cairn::disk

// SPDX-License-Identifier: Apache-2.0
// The index of a disk tier as a file, so that opening needs not look at every record. Only a hint: what it says is
// verified when a block is read, and a missing or damaged one costs a scan.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/store/record/block_record.h"

namespace cairn::disk {

struct CheckpointBlock {
  BlockMeta meta;  // without parts
  std::uint32_t segment = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::int64_t pinned_until_s = 0;
};

struct Checkpoint {
  std::map<std::uint32_t, std::uint64_t> segment_ends;  // records up to there are listed
  std::vector<CheckpointBlock> blocks;                  // in the order in which they were last used
};

Status write_checkpoint(const std::string& path, const Checkpoint& checkpoint);
// kNotFound, kIo, kCorrupt, kUnsupported (another version).
Result<Checkpoint> read_checkpoint(const std::string& path);

}  // namespace cairn::disk

// SPDX-License-Identifier: Apache-2.0
// Reading many blocks of a folder part by part. The records lie in memory at once, as long as they are, and fill up
// from their beginnings; what is read next starts at the page where the last read ended.
#include <algorithm>
#include <utility>

#include "cairn/store/disk/disk_tier.h"
#include "cairn/store/record/record_header.h"

namespace cairn {
namespace {

// Holds the headers of blocks with up to some 160 layers; longer ones are read whole at once.
constexpr std::size_t kHeadBytes = 2 * kDirectIoPage;

}  // namespace

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

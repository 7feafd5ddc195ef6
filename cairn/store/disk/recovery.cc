// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/disk/recovery.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "cairn/base/file.h"

namespace cairn::disk {
namespace {

// A block that is indexed already and lies here too.
using Double = std::pair<BlockMeta, Place>;

void restore(SegmentLog& log, BlockIndex& index, const BlockMeta& meta, const Place& place) {
  if (index.restore(meta, place)) log.count_live(place);
}

void index_checkpoint(const Checkpoint& checkpoint, SegmentLog& log, BlockIndex& index, std::vector<Double>& doubles) {
  std::map<std::uint32_t, std::shared_ptr<Segment>> segments;
  for (const auto& [id, end] : checkpoint.segment_ends) segments[id] = log.adopt(id, end);
  for (const CheckpointBlock& block : checkpoint.blocks) {
    const auto found = segments.find(block.segment);
    if (found == segments.end() || found->second == nullptr) continue;
    const std::uint64_t end = log.end_of(*found->second);
    if (block.bytes > end || block.offset > end - block.bytes) continue;
    if (found->second->is_hole(block.offset)) continue;  // evicted after the checkpoint was written
    const Place place{.segment = found->second, .offset = block.offset, .bytes = block.bytes};
    if (index.contains(block.meta.key)) {
      doubles.emplace_back(block.meta, place);
    } else {
      restore(log, index, block.meta, place);
    }
    if (block.pinned_until_s > unix_seconds()) index.residency().pin(block.meta.key, block.pinned_until_s);
  }
}

// A crash between writing a block's new record and giving back the old one leaves both. They say the same, but the
// former may be torn, or the latter be partly given back.
void choose_of_doubles(DiskIo& io, SegmentLog& log, BlockIndex& index, std::vector<Double> doubles) {
  for (auto& [meta, place] : doubles) {
    const Place known = index.find(meta.key)->place;
    if (SegmentLog::read(io, meta.key, known) != nullptr) continue;  // release_gaps() takes the other
    if (SegmentLog::read(io, meta.key, place) == nullptr) continue;
    log.count_live(place);
    log.uncount_live(index.exchange(meta, std::move(place)));
  }
}

// Only the last batch can be torn, when the machine failed and not just the process, and only if no checkpoint has seen
// it.
std::uint64_t drop_torn(DiskIo& io, SegmentLog& log, BlockIndex& index, const Checkpoint& checkpoint) {
  constexpr std::size_t kSuspects = 16;
  const std::shared_ptr<Segment> last = log.last();
  if (last == nullptr) return 0;
  const auto end = checkpoint.segment_ends.find(last->id());
  const std::uint64_t seen = end == checkpoint.segment_ends.end() ? 0 : end->second;
  std::vector<std::pair<std::uint64_t, Digest>> records;
  index.for_each([&](const BlockIndex::Entry& entry) {
    if (entry.place.segment == last && entry.place.offset >= seen) {
      records.emplace_back(entry.place.offset, entry.meta.key);
    }
  });
  std::ranges::sort(records, std::greater());
  if (records.size() > kSuspects) records.resize(kSuspects);
  std::uint64_t torn = 0;
  for (const auto& [offset, key] : records) {
    if (SegmentLog::read(io, key, index.find(key)->place) != nullptr) continue;
    ++torn;
    log.release(*index.erase(key, Gone::kDamaged));
  }
  return torn;
}

}  // namespace

Result<Recovered> recover(const StoreFolder& folder, DiskIo& io, SegmentLog& log, BlockIndex& index) {
  Recovered recovered;
  index.gone().load(folder.gone());
  Result<Checkpoint> read = read_checkpoint(folder.checkpoint());
  if (!read && read.error().code == ErrorCode::kCorrupt) {
    recovered.note = ", recovered by a scan since the checkpoint is damaged";
  }
  const Checkpoint checkpoint = read ? *std::move(read) : Checkpoint{};
  std::vector<Double> doubles;
  index_checkpoint(checkpoint, log, index, doubles);
  if (!folder.writes()) {
    for (auto& [meta, place] : std::exchange(doubles, {})) {
      log.count_live(place);
      log.uncount_live(index.exchange(meta, std::move(place)));
    }
    CAIRN_TRY_VOID(follow_writer(log, index));
    return recovered;
  }
  const auto found = [&](const Place& place, const BlockMeta& meta) {
    if (index.contains(meta.key)) {
      doubles.emplace_back(meta, place);
    } else {
      restore(log, index, meta, place);
    }
  };
  // Records of other versions are of no use to this build: they count as gaps.
  const auto foreign = [&](const ForeignRecord& record) { index.note_foreign(record.key, record.version); };
  CAIRN_TRY_VOID(log.scan(found, foreign));
  choose_of_doubles(io, log, index, std::move(doubles));
  recovered.torn = drop_torn(io, log, index, checkpoint);
  for (const Digest& key : index.shrink()) {
    if (const auto place = index.erase(key, Gone::kEvicted)) log.release(*place);
  }
  SegmentLog::Records records;
  index.for_each([&](const BlockIndex::Entry& entry) {
    records[entry.place.segment->id()][entry.place.offset] = entry.place.bytes;
  });
  log.release_gaps(std::move(records));
  log.drop_empty();
  return recovered;
}

Status follow_writer(SegmentLog& log, BlockIndex& index) {
  const auto found = [&](const Place& place, const BlockMeta& meta) {
    if (!index.contains(meta.key)) return restore(log, index, meta, place);
    log.count_live(place);
    log.uncount_live(index.exchange(meta, place));  // the writer gives the former one back
  };
  return log.scan(found, [&](const ForeignRecord& record) { index.note_foreign(record.key, record.version); });
}

Snapshot snapshot(const SegmentLog& log, const BlockIndex& index) {
  Snapshot snapshot{.checkpoint = {.segment_ends = log.ends(), .blocks = {}}, .gone = index.gone().bytes()};
  snapshot.checkpoint.blocks.reserve(index.size());
  index.for_each([&](const BlockIndex::Entry& entry) {
    snapshot.checkpoint.blocks.push_back({.meta = entry.meta,
                                          .segment = entry.place.segment->id(),
                                          .offset = entry.place.offset,
                                          .bytes = entry.place.bytes,
                                          .pinned_until_s = index.residency().pinned_until(entry.meta.key)});
  });
  return snapshot;
}

Status save(const StoreFolder& folder, Snapshot snapshot) {
  CAIRN_TRY_VOID(write_file(folder.gone(), snapshot.gone));
  // As they were made: so their order of age survives, also of those that were replaced.
  std::ranges::sort(snapshot.checkpoint.blocks, {}, [](const CheckpointBlock& block) {
    return std::pair(block.meta.created_s, record_place(block.segment, block.offset));
  });
  return write_checkpoint(folder.checkpoint(), snapshot.checkpoint);
}

}  // namespace cairn::disk

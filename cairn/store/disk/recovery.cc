// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/disk/recovery.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <functional>
#include <span>
#include <type_traits>
#include <utility>

#include "cairn/base/checksum.h"
#include "cairn/base/file.h"

namespace cairn::disk {
namespace {

constexpr char kCheckpointMagic[] = {'C', 'A', 'I', 'R', 'N', 'I', 'D', 'X'};
constexpr std::uint32_t kCheckpointVersion = 3;  // earlier ones name records of format version 1
constexpr std::uint64_t kCompressedFlag = 1;
constexpr std::size_t kMaxCheckpointBytes = std::size_t{4} << 30;

// One entry as it lies in the file. Only for machines with little-endian words, which the build asserts.
struct Entry {
  std::uint8_t key[32], parent[32], recipe[32];
  std::uint64_t tenant, offset, bytes;
  std::int64_t created_s, expires_s, pinned_until_s;
  std::uint32_t depth, segment;
  std::uint64_t flags;
};
static_assert(sizeof(Entry) == 160 && std::is_trivially_copyable_v<Entry>);
static_assert(std::endian::native == std::endian::little);

struct Head {
  char magic[8];
  std::uint32_t version, segments;
  std::uint64_t blocks;
};
static_assert(sizeof(Head) == 24);

struct SegmentEnd {
  std::uint64_t id, end;
};

template <class T>
void append(std::vector<std::byte>& out, const T& value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}

template <class T>
T take(std::span<const std::byte>& in) {
  T value;
  std::memcpy(&value, in.data(), sizeof value);
  in = in.subspan(sizeof value);
  return value;
}

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

Status write_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  std::vector<std::byte> out;
  out.reserve(sizeof(Head) + checkpoint.blocks.size() * sizeof(Entry) + 4096);
  Head head{.magic = {},
            .version = kCheckpointVersion,
            .segments = static_cast<std::uint32_t>(checkpoint.segment_ends.size()),
            .blocks = checkpoint.blocks.size()};
  std::memcpy(head.magic, kCheckpointMagic, sizeof kCheckpointMagic);
  append(out, head);
  for (const auto& [id, end] : checkpoint.segment_ends) append(out, SegmentEnd{id, end});
  for (const CheckpointBlock& block : checkpoint.blocks) {
    Entry entry{};
    std::memcpy(entry.key, block.meta.key.bytes.data(), 32);
    std::memcpy(entry.parent, block.meta.parent.bytes.data(), 32);
    std::memcpy(entry.recipe, block.meta.recipe.bytes.data(), 32);
    entry.tenant = block.meta.tenant;
    entry.offset = block.offset;
    entry.bytes = block.bytes;
    entry.created_s = block.meta.created_s;
    entry.expires_s = block.meta.expires_s;
    entry.pinned_until_s = block.pinned_until_s;
    entry.depth = block.meta.depth;
    entry.segment = block.segment;
    entry.flags = block.meta.compressed ? kCompressedFlag : 0;
    append(out, entry);
  }
  append(out, checksum(out));
  return write_file(path, out);
}

Result<Checkpoint> read_checkpoint(const std::string& path) {
  CAIRN_TRY(const std::vector<std::byte> file, read_file(path, kMaxCheckpointBytes));
  const auto damaged = [&] { return fail(ErrorCode::kCorrupt, "'" + path + "' is damaged"); };
  if (file.size() < sizeof(Head) + sizeof(std::uint64_t)) return damaged();
  const auto content = std::span<const std::byte>(file).first(file.size() - sizeof(std::uint64_t));
  std::span<const std::byte> tail = std::span<const std::byte>(file).subspan(content.size());
  if (take<std::uint64_t>(tail) != checksum(content)) return damaged();
  std::span<const std::byte> in = content;
  const Head head = take<Head>(in);
  if (std::memcmp(head.magic, kCheckpointMagic, sizeof kCheckpointMagic) != 0) return damaged();
  if (head.version != kCheckpointVersion) return fail(ErrorCode::kUnsupported, "'" + path + "' is of another version");
  if (head.segments > in.size() / sizeof(SegmentEnd)) return damaged();
  const std::size_t entry_bytes = in.size() - head.segments * sizeof(SegmentEnd);
  if (entry_bytes % sizeof(Entry) != 0 || entry_bytes / sizeof(Entry) != head.blocks) return damaged();
  Checkpoint checkpoint;
  for (std::uint32_t i = 0; i < head.segments; ++i) {
    const auto segment = take<SegmentEnd>(in);
    checkpoint.segment_ends[static_cast<std::uint32_t>(segment.id)] = segment.end;
  }
  checkpoint.blocks.reserve(head.blocks);
  for (std::uint64_t i = 0; i < head.blocks; ++i) {
    const auto entry = take<Entry>(in);
    CheckpointBlock block;
    std::memcpy(block.meta.key.bytes.data(), entry.key, 32);
    std::memcpy(block.meta.parent.bytes.data(), entry.parent, 32);
    std::memcpy(block.meta.recipe.bytes.data(), entry.recipe, 32);
    block.meta.tenant = entry.tenant;
    block.meta.depth = entry.depth;
    block.meta.compressed = (entry.flags & kCompressedFlag) != 0;
    block.meta.created_s = entry.created_s;
    block.meta.expires_s = entry.expires_s;
    block.segment = entry.segment;
    block.offset = entry.offset;
    block.bytes = entry.bytes;
    block.pinned_until_s = entry.pinned_until_s;
    // A checksum is no proof of who wrote it.
    if (!is_record_length(block.bytes) || block.offset % kDirectIoPage != 0) return damaged();
    checkpoint.blocks.push_back(std::move(block));
  }
  return checkpoint;
}

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

// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/disk/checkpoint.h"

#include <bit>
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

#include "cairn/base/checksum.h"
#include "cairn/base/file.h"

namespace cairn::disk {
namespace {

constexpr char kCheckpointMagic[] = {'C', 'A', 'I', 'R', 'N', 'I', 'D', 'X'};
constexpr std::uint32_t kVersion = 3;  // earlier ones name records of format version 1
constexpr std::uint64_t kCompressed = 1;
constexpr std::size_t kMaxBytes = std::size_t{4} << 30;

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

}  // namespace

Status write_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  std::vector<std::byte> out;
  out.reserve(sizeof(Head) + checkpoint.blocks.size() * sizeof(Entry) + 4096);
  Head head{.magic = {},
            .version = kVersion,
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
    entry.flags = block.meta.compressed ? kCompressed : 0;
    append(out, entry);
  }
  append(out, checksum(out));
  return write_file(path, out);
}

Result<Checkpoint> read_checkpoint(const std::string& path) {
  CAIRN_TRY(const std::vector<std::byte> file, read_file(path, kMaxBytes));
  const auto damaged = [&] { return fail(ErrorCode::kCorrupt, "'" + path + "' is damaged"); };
  if (file.size() < sizeof(Head) + sizeof(std::uint64_t)) return damaged();
  const auto content = std::span<const std::byte>(file).first(file.size() - sizeof(std::uint64_t));
  std::span<const std::byte> tail = std::span<const std::byte>(file).subspan(content.size());
  if (take<std::uint64_t>(tail) != checksum(content)) return damaged();
  std::span<const std::byte> in = content;
  const Head head = take<Head>(in);
  if (std::memcmp(head.magic, kCheckpointMagic, sizeof kCheckpointMagic) != 0) return damaged();
  if (head.version != kVersion) return fail(ErrorCode::kUnsupported, "'" + path + "' is of another version");
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
    block.meta.compressed = (entry.flags & kCompressed) != 0;
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

}  // namespace cairn::disk

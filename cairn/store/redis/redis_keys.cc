// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/redis/redis_keys.h"

#include <charconv>
#include <cstring>

#include "cairn/base/checksum.h"
#include "cairn/store/record/block_record.h"

namespace cairn {
namespace {

constexpr char kCommitMagic[] = {'C', 'A', 'I', 'R', 'N', 'R', 'C', '1'};
constexpr std::string_view kPrefix = "kv1:{";
constexpr std::string_view kHeaderEnd = "}:h";
constexpr std::string_view kRecipePrefix = "kv1:recipe:";

void put_little(std::byte* out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::byte>(value >> 8 * i);
}

std::uint64_t get_little(const std::byte* in, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value |= static_cast<std::uint64_t>(in[i]) << 8 * i;
  return value;
}

// CRC-16/XMODEM: polynomial 0x1021, starts at zero, not reflected.
constexpr std::array<std::uint16_t, 256> make_crc_table() {
  std::array<std::uint16_t, 256> table{};
  for (unsigned i = 0; i < 256; ++i) {
    unsigned crc = i << 8;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1;
    table[i] = static_cast<std::uint16_t>(crc);
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

std::string block_prefix(const Digest& key) {
  return std::string(kPrefix) + key.hex() + "}:";
}

}  // namespace

std::string redis_header_key(const Digest& key) {
  return block_prefix(key) + "h";
}

std::string redis_slice_key(const Digest& key, std::uint64_t tag, std::uint32_t slice) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string name = block_prefix(key);
  for (int shift = 60; shift >= 0; shift -= 4) name += kDigits[tag >> shift & 15];
  return name + ":" + std::to_string(slice);
}

std::vector<std::string> redis_commit_command(const Digest& key) {
  return {"GETRANGE", redis_header_key(key), std::to_string(-std::int64_t{RedisCommit::kBytes}), "-1"};
}

std::string redis_pin_key(const Digest& key) {
  return block_prefix(key) + "p";
}

std::string redis_recipe_key(const Digest& recipe) {
  return std::string(kRecipePrefix) + recipe.hex();
}

std::optional<Digest> block_of_header_key(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kHeaderEnd)) return std::nullopt;
  if (name.size() < kPrefix.size() + kHeaderEnd.size()) return std::nullopt;
  return parse_digest(name.substr(kPrefix.size(), name.size() - kPrefix.size() - kHeaderEnd.size()));
}

std::optional<Digest> recipe_of_key(std::string_view name) {
  if (!name.starts_with(kRecipePrefix)) return std::nullopt;
  return parse_digest(name.substr(kRecipePrefix.size()));
}

std::uint16_t redis_slot(std::string_view name) {
  const std::size_t open = name.find('{');
  if (open != std::string_view::npos) {
    const std::size_t close = name.find('}', open + 1);
    if (close != std::string_view::npos && close > open + 1) name = name.substr(open + 1, close - open - 1);
  }
  unsigned crc = 0;
  for (const char c : name) crc = (crc << 8 & 0xffff) ^ kCrcTable[(crc >> 8 ^ static_cast<unsigned char>(c)) & 0xff];
  return static_cast<std::uint16_t>(crc & 16383);
}

std::array<std::byte, RedisCommit::kBytes> RedisCommit::bytes() const {
  std::array<std::byte, kBytes> out;
  std::memcpy(out.data(), kCommitMagic, sizeof kCommitMagic);
  put_little(&out[8], record_bytes, 8);
  put_little(&out[16], tag, 8);
  put_little(&out[24], slice_bytes, 4);
  put_little(&out[28], slices, 4);
  put_little(&out[32], checksum(std::span(out).first(32)), 8);
  return out;
}

std::optional<RedisCommit> RedisCommit::read(std::span<const std::byte> bytes) {
  if (bytes.size() != kBytes || std::memcmp(bytes.data(), kCommitMagic, sizeof kCommitMagic) != 0) return std::nullopt;
  if (get_little(&bytes[32], 8) != checksum(bytes.first(32))) return std::nullopt;
  const RedisCommit commit{.record_bytes = get_little(&bytes[8], 8),
                           .tag = get_little(&bytes[16], 8),
                           .slice_bytes = static_cast<std::uint32_t>(get_little(&bytes[24], 4)),
                           .slices = static_cast<std::uint32_t>(get_little(&bytes[28], 4))};
  if (commit.record_bytes > kMaxRecordBytes || commit.slice_bytes == 0 || commit.slice_bytes > kMaxSliceBytes) {
    return std::nullopt;
  }
  const std::uint64_t max_slices = (commit.record_bytes + commit.slice_bytes - 1) / commit.slice_bytes;
  if (commit.slices > max_slices || commit.slices > kMaxSlices) return std::nullopt;
  return commit;
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// How a block lies in Redis: names, slices and the commit record.
//
//   kv1:{<hex key>}:h          the record's header region (record_header_bytes), then the commit info below
//   kv1:{<hex key>}:<tag>:<n>  slice n of what follows the header region, at most 1 MiB; the last may be shorter
//   kv1:{<hex key>}:p          until when the block is pinned, Unix seconds in decimal
//   kv1:recipe:<hex>           what a recipe means
//
// Braces keep a block's keys in one cluster slot. The tag, 16 hexadecimal digits, is the header's own checksum, which
// covers those of all parts: slices of two different records of one block (another encryption nonce) never mix. The
// header is written last and alone makes the block visible.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/hash.h"

namespace cairn {

inline constexpr std::size_t kMaxSliceBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMaxSlices = 4096;  // of a block: four times what the longest record needs
// Slices outlive their header, so that a block ends as a whole.
inline constexpr std::int64_t kSliceExtraSeconds = 10;
inline constexpr std::string_view kRedisHeaderPattern = "kv1:*:h";
inline constexpr std::string_view kRedisRecipePattern = "kv1:recipe:*";

std::string redis_header_key(const Digest& key);
std::string redis_slice_key(const Digest& key, std::uint64_t tag, std::uint32_t slice);
// Asks for the commit info alone.
std::vector<std::string> redis_commit_command(const Digest& key);
std::string redis_pin_key(const Digest& key);
std::string redis_recipe_key(const Digest& recipe);
// The digest in such a name; nothing for other names.
std::optional<Digest> block_of_header_key(std::string_view name);
std::optional<Digest> recipe_of_key(std::string_view name);

// The slot of a name in a Redis cluster: CRC16 of what stands in its first braces, or of all of it, modulo 16384.
std::uint16_t redis_slot(std::string_view name);

// Ends the header's value: enough to find the slices without reading the header. 40 bytes: "CAIRNRC1", u64 bytes of
// the record, u64 tag, u32 bytes of a slice, u32 slices, u64 checksum of the 32 bytes before; little-endian.
struct RedisCommit {
  static constexpr std::size_t kBytes = 40;

  std::uint64_t record_bytes = 0;
  std::uint64_t tag = 0;
  std::uint32_t slice_bytes = 0;
  std::uint32_t slices = 0;

  std::array<std::byte, kBytes> bytes() const;
  // Nothing when damaged or when its numbers exceed what a record can be. Never trusts a byte.
  static std::optional<RedisCommit> read(std::span<const std::byte> bytes);
};

}  // namespace cairn

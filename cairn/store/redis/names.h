// SPDX-License-Identifier: Apache-2.0
// Where a Redis tier is, and how a block lies there.
//
// The place is redis://[user[:password]@]host[:port][/db] or unix:///path/to.sock, and
// ?ttl=SECONDS&cluster=1.
//
// A block lies there as a header, slices and, when it is pinned, a pin:
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
#include "cairn/base/result.h"

namespace cairn::redis {

// A server's place: a host and a port, or a socket's path.
struct Address {
  std::string host;
  std::uint16_t port = 6379;
  std::string socket;  // not empty: the others mean nothing

  bool operator==(const Address&) const = default;
  auto operator<=>(const Address&) const = default;
  std::string text() const;  // "redis://host:6379", "unix:///path/to.sock"
};

struct Login {
  std::string user, password;  // empty: none
  std::uint32_t database = 0;
};

struct Url {
  Address address;
  Login login;
  std::optional<std::int64_t> ttl_s;
  bool cluster = false;
};

// User and password may hold %XX. A unix:// URL takes its database from ?db=N. kInvalidArgument with one line that
// never shows the password; kUnsupported for rediss://.
Result<Url> parse_url(std::string_view url);

// "host:port" or "[v6]:port" as servers name each other; nothing where it is neither. The host may be empty.
std::optional<Address> parse_endpoint(std::string_view text);

inline constexpr std::size_t kMaxSliceBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMaxSlices = 4096;  // of a block: four times what the longest record needs
// Slices outlive their header, so that a block ends as a whole.
inline constexpr std::int64_t kSliceExtraSeconds = 10;
inline constexpr std::string_view kHeaderPattern = "kv1:*:h";
inline constexpr std::string_view kRecipePattern = "kv1:recipe:*";

std::string header_key(const Digest& key);
std::string slice_key(const Digest& key, std::uint64_t tag, std::uint32_t slice);
// Asks for the commit info alone.
std::vector<std::string> commit_command(const Digest& key);
std::string pin_key(const Digest& key);
std::string recipe_key(const Digest& recipe);
// The digest in such a name; nothing for other names.
std::optional<Digest> block_of_header_key(std::string_view name);
std::optional<Digest> recipe_of_key(std::string_view name);

// The slot of a name in a Redis cluster: CRC16 of what stands in its first braces, or of all of it, modulo 16384.
std::uint16_t slot_of(std::string_view name);

// Ends the header's value: enough to find the slices without reading the header. 40 bytes: "CAIRNRC1", u64 bytes of
// the record, u64 tag, u32 bytes of a slice, u32 slices, u64 checksum of the 32 bytes before; little-endian.
struct Commit {
  static constexpr std::size_t kBytes = 40;

  std::uint64_t record_bytes = 0;
  std::uint64_t tag = 0;
  std::uint32_t slice_bytes = 0;
  std::uint32_t slices = 0;

  std::array<std::byte, kBytes> bytes() const;
  // Nothing when damaged or when its numbers exceed what a record can be. Never trusts a byte.
  static std::optional<Commit> read(std::span<const std::byte> bytes);
};

}  // namespace cairn::redis

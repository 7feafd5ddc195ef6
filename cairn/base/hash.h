// SPDX-License-Identifier: Apache-2.0
// 256-bit BLAKE2b (libsodium): the only hash that identities are made of. Stable across processes and machines.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cairn {

// 32 opaque bytes, comparable and printable. Immutable value.
struct Digest {
  std::array<std::uint8_t, 32> bytes{};

  auto operator<=>(const Digest&) const = default;
  std::string hex() const;
};

// The digest of 64 hexadecimal digits, as hex() writes them; nothing for other texts.
std::optional<Digest> parse_digest(std::string_view hex);

// For secrets: the time says nothing about where they differ.
bool same_in_constant_time(const Digest& a, const Digest& b);

// Digests are uniform, so their first bytes are a hash already.
struct DigestHash {
  std::size_t operator()(const Digest& digest) const noexcept;
};

// Streams bytes into one digest. Integers are hashed as little-endian, strings with their length in front, so that
// no two different field lists give the same bytes. Thread-compatible.
class Hasher {
 public:
  // The domain ("cairn.block.v1") keeps digests of different things apart.
  explicit Hasher(std::string_view domain);

  Hasher& bytes(std::span<const std::byte> data);  // raw, no length
  Hasher& u32(std::uint32_t value);
  Hasher& u64(std::uint64_t value);
  Hasher& text(std::string_view value);  // u64 length, then the bytes
  Hasher& digest(const Digest& value);   // 32 raw bytes
  Digest finish();                       // once; the hasher is spent afterwards

 private:
  alignas(64) std::array<unsigned char, 384> state_;  // crypto_generichash_state, kept opaque
};

}  // namespace cairn

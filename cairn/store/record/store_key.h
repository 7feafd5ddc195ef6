// SPDX-License-Identifier: Apache-2.0
// Authenticated encryption of stored parts: XChaCha20-Poly1305 (libsodium), a fresh nonce for each record.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "cairn/base/result.h"

namespace cairn {

// Immutable value; wiped on destruction.
class StoreKey {
 public:
  static constexpr std::size_t kBytes = 32;
  static constexpr std::size_t kNonceBytes = 24;
  static constexpr std::size_t kOverhead = 16;  // bytes that encryption adds to a part

  using Nonce = std::array<std::uint8_t, kNonceBytes>;

  // A file of 64 hexadecimal digits, as `openssl rand -hex 32` writes. kInvalidArgument when it holds something else,
  // or when others than its owner may read it; the errors of read_file.
  static Result<StoreKey> from_file(const std::string& path);
  explicit StoreKey(const std::array<std::uint8_t, kBytes>& bytes) : bytes_(bytes) {}
  ~StoreKey();
  StoreKey(const StoreKey&) = default;
  StoreKey& operator=(const StoreKey&) = default;

  static Nonce fresh_nonce();

  // out.size() == plain.size() + kOverhead. `context` is authenticated with it.
  void seal(const Nonce& nonce, std::uint32_t part, std::span<const std::byte> context,
            std::span<const std::byte> plain, std::span<std::byte> out) const;
  // False when the key, the nonce, the context or the bytes are not those of seal().
  bool open(const Nonce& nonce, std::uint32_t part, std::span<const std::byte> context,
            std::span<const std::byte> sealed, std::span<std::byte> out) const;

 private:
  std::array<std::uint8_t, kBytes> bytes_;
};

}  // namespace cairn

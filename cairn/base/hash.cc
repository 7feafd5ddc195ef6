// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/hash.h"

#include <sodium.h>

#include <bit>
#include <cstring>

#include "cairn/base/check.h"

namespace cairn {
namespace {

static_assert(sizeof(crypto_generichash_state) <= 384);
static_assert(std::endian::native == std::endian::little, "integers are hashed as they lie in memory");

crypto_generichash_state* state_of(std::array<unsigned char, 384>& storage) {
  return reinterpret_cast<crypto_generichash_state*>(storage.data());
}

}  // namespace

std::optional<Digest> parse_digest(std::string_view hex) {
  Digest digest;
  std::size_t length = 0;
  if (hex.size() != 2 * digest.bytes.size() || sodium_hex2bin(digest.bytes.data(), digest.bytes.size(), hex.data(),
                                                              hex.size(), nullptr, &length, nullptr) != 0) {
    return std::nullopt;
  }
  return digest;
}

std::string Digest::hex() const {
  std::string text(bytes.size() * 2 + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), bytes.data(), bytes.size());
  text.pop_back();
  return text;
}

bool same_in_constant_time(const Digest& a, const Digest& b) {
  return sodium_memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0;
}

std::size_t DigestHash::operator()(const Digest& digest) const noexcept {
  std::size_t value = 0;
  std::memcpy(&value, digest.bytes.data(), sizeof value);
  return value;
}

Hasher::Hasher(std::string_view domain) {
  static const bool ready = sodium_init() >= 0;
  CAIRN_CHECK(ready);
  crypto_generichash_init(state_of(state_), nullptr, 0, 32);
  text(domain);
}

Hasher& Hasher::bytes(std::span<const std::byte> data) {
  crypto_generichash_update(state_of(state_), reinterpret_cast<const unsigned char*>(data.data()), data.size());
  return *this;
}

Hasher& Hasher::u32(std::uint32_t value) {
  return bytes(std::as_bytes(std::span(&value, 1)));
}
Hasher& Hasher::u64(std::uint64_t value) {
  return bytes(std::as_bytes(std::span(&value, 1)));
}

Hasher& Hasher::text(std::string_view value) {
  u64(value.size());
  return bytes(std::as_bytes(std::span(value)));
}

Hasher& Hasher::digest(const Digest& value) {
  return bytes(std::as_bytes(std::span(value.bytes)));
}

Digest Hasher::finish() {
  Digest result;
  crypto_generichash_final(state_of(state_), result.bytes.data(), result.bytes.size());
  return result;
}

}  // namespace cairn

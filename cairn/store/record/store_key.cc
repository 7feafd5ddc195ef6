// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/record/store_key.h"

#include <sodium.h>
#include <sys/stat.h>

#include <algorithm>

#include "cairn/base/check.h"
#include "cairn/base/file.h"

namespace cairn {
namespace {

// Parts of one record differ in the last bytes of its nonce.
StoreKey::Nonce nonce_of_part(StoreKey::Nonce nonce, std::uint32_t part) {
  for (std::size_t i = 0; i < 4; ++i) nonce[nonce.size() - 4 + i] ^= static_cast<std::uint8_t>(part >> 8 * i);
  return nonce;
}

const unsigned char* octets(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

}  // namespace

static_assert(StoreKey::kBytes == crypto_aead_xchacha20poly1305_ietf_KEYBYTES);
static_assert(StoreKey::kNonceBytes == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
static_assert(StoreKey::kOverhead == crypto_aead_xchacha20poly1305_ietf_ABYTES);

Result<StoreKey> StoreKey::from_file(const std::string& path) {
  CAIRN_TRY(const std::vector<std::byte> text, read_file(path, 4096));
  struct stat info {};
  if (stat(path.c_str(), &info) == 0 && (info.st_mode & (S_IRGRP | S_IROTH)) != 0) {
    return fail(ErrorCode::kInvalidArgument, "key file '" + path + "' may be read by others: chmod 600 it");
  }
  std::array<std::uint8_t, kBytes> bytes{};
  std::size_t length = 0;
  const char* end = nullptr;
  const auto* hex = reinterpret_cast<const char*>(text.data());
  const bool parsed =
      sodium_hex2bin(bytes.data(), bytes.size(), hex, text.size(), " \r\n\t", &length, &end) == 0 && length == kBytes;
  if (!parsed || end != hex + text.size()) {
    return fail(ErrorCode::kInvalidArgument,
                "key file '" + path + "' must hold 64 hexadecimal digits, as 'openssl rand -hex 32' writes");
  }
  return StoreKey(bytes);
}

StoreKey::~StoreKey() {
  sodium_memzero(bytes_.data(), bytes_.size());
}

StoreKey::Nonce StoreKey::fresh_nonce() {
  CAIRN_CHECK(sodium_init() >= 0);
  Nonce nonce;
  randombytes_buf(nonce.data(), nonce.size());
  return nonce;
}

void StoreKey::seal(const Nonce& nonce, std::uint32_t part, std::span<const std::byte> context,
                    std::span<const std::byte> plain, std::span<std::byte> out) const {
  CAIRN_CHECK(out.size() == plain.size() + kOverhead);
  crypto_aead_xchacha20poly1305_ietf_encrypt(reinterpret_cast<unsigned char*>(out.data()), nullptr, octets(plain),
                                             plain.size(), octets(context), context.size(), nullptr,
                                             nonce_of_part(nonce, part).data(), bytes_.data());
}

bool StoreKey::open(const Nonce& nonce, std::uint32_t part, std::span<const std::byte> context,
                    std::span<const std::byte> sealed, std::span<std::byte> out) const {
  if (sealed.size() != out.size() + kOverhead) return false;
  return crypto_aead_xchacha20poly1305_ietf_decrypt(reinterpret_cast<unsigned char*>(out.data()), nullptr, nullptr,
                                                    octets(sealed), sealed.size(), octets(context), context.size(),
                                                    nonce_of_part(nonce, part).data(), bytes_.data()) == 0;
}

}  // namespace cairn

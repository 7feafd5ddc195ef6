// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/record/block_record.h"

#include <sodium.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/base/checksum.h"
#include "cairn/base/file.h"
#include "cairn/store/record/compression.h"
#include "cairn/store/record/record_header.h"

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

// libsodium chooses its implementations when it is initialised. A thread that opens a part while another initialises
// it mixes two of them, and the part is refused as if it had another key.
StoreKey::StoreKey(const std::array<std::uint8_t, kBytes>& bytes) : bytes_(bytes) {
  CAIRN_CHECK(sodium_init() >= 0);
}

StoreKey::~StoreKey() {
  sodium_memzero(bytes_.data(), bytes_.size());
}

StoreKey::Nonce StoreKey::fresh_nonce() {
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

std::uint64_t tenant_tag(std::string_view tenant) {
  if (tenant.empty()) return 0;
  const Digest digest = Hasher("cairn.tenant.v1").text(tenant).finish();
  std::uint64_t tag;
  std::memcpy(&tag, digest.bytes.data(), sizeof tag);
  return tag | 1;
}

std::size_t BlockRecord::bytes_for(std::span<const PartMeta> parts, bool encrypted) {
  RecordHeader header;
  const std::uint32_t overhead = encrypted ? StoreKey::kOverhead : 0;
  for (const PartMeta& part : parts) header.parts.push_back({.meta = part, .stored_bytes = part.bytes + overhead});
  return header.offsets().back();
}

std::shared_ptr<const BlockRecord> BlockRecord::build(BlockMeta meta,
                                                      std::span<const std::span<const std::byte>> contents,
                                                      const StoreKey* key, std::span<const PartForm> forms) {
  CAIRN_CHECK(forms.empty() || forms.size() == contents.size());
  CAIRN_CHECK(!contents.empty() && contents.size() == meta.parts.size() && contents.size() <= kMaxParts);
  std::shared_ptr<BlockRecord> record(new BlockRecord());
  meta.compressed = std::ranges::any_of(forms, [](PartForm form) { return form != PartForm::kPlain; });
  RecordHeader header;
  header.meta = meta;
  header.encrypted = key != nullptr;
  if (key != nullptr) header.nonce = StoreKey::fresh_nonce();
  for (std::size_t i = 0; i < contents.size(); ++i) {
    const PartForm form = forms.empty() ? PartForm::kPlain : forms[i];
    const std::size_t bytes = contents[i].size(), plain_bytes = meta.parts[i].bytes;
    CAIRN_CHECK(form == PartForm::kPlain ? bytes == plain_bytes : bytes < plain_bytes);
    const std::size_t stored = bytes + (key != nullptr ? StoreKey::kOverhead : 0);
    header.parts.push_back({.meta = meta.parts[i], .stored_bytes = static_cast<std::uint32_t>(stored), .form = form});
  }
  record->offsets_ = header.offsets();
  record->bytes_ = RecordBytes(record->offsets_.back());
  const std::span<std::byte> all = record->bytes_.span();
  std::ranges::fill(all.first(header.header_bytes()), std::byte{0});
  for (std::size_t i = 0; i < contents.size(); ++i) {
    const std::span<std::byte> out = all.subspan(record->offsets_[i], header.parts[i].stored_bytes);
    if (key != nullptr) {
      const auto context = part_context(meta, i, header.parts[i].form);
      key->seal(header.nonce, static_cast<std::uint32_t>(i), context, contents[i], out);
      header.parts[i].checksum = checksum(out);
    } else {
      header.parts[i].checksum = copy_with_checksum(out, contents[i]);
    }
    const std::size_t end = record->offsets_[i] + out.size();
    std::memset(all.data() + end, 0, record->offsets_[i + 1] - end);
  }
  header.write(all.first(header.header_bytes()));
  record->parts_ = std::move(header.parts);
  record->meta_ = std::move(meta);
  record->encrypted_ = header.encrypted;
  return record;
}

std::expected<std::size_t, Refusal> BlockRecord::length_of(std::span<const std::byte> first_page) {
  // Before the header can be verified, its own two lengths must be believed far enough to read on.
  if (first_page.size() < 24 || std::memcmp(first_page.data(), kRecordMagic, sizeof kRecordMagic) != 0) {
    return std::unexpected("not a stored block");
  }
  std::uint64_t bytes;
  std::memcpy(&bytes, first_page.data() + 16, sizeof bytes);
  if (!is_record_length(bytes)) {
    return std::unexpected("its header is damaged: lengths make no sense");
  }
  return bytes;
}

std::expected<BlockMeta, Refusal> BlockRecord::parse_header(std::span<const std::byte> bytes, std::uint64_t place) {
  auto header = RecordHeader::read(bytes);
  if (!header) return std::unexpected(header.error());
  if (header->place != place) return std::unexpected("it was written for another place");
  return std::move(header->meta);
}

std::expected<std::shared_ptr<const BlockRecord>, Refusal> BlockRecord::parse(RecordBytes bytes, std::uint64_t place,
                                                                              const Digest* key) {
  auto header = RecordHeader::read(bytes.span());
  if (!header) return std::unexpected(header.error());
  if (header->place != place) return std::unexpected("it was written for another place");
  if (key != nullptr && header->meta.key != *key) return std::unexpected("it is another block");
  std::shared_ptr<BlockRecord> record(new BlockRecord());
  record->offsets_ = header->offsets();
  if (record->offsets_.back() != bytes.size()) return std::unexpected("it is cut short");
  record->parts_ = std::move(header->parts);
  record->meta_ = std::move(header->meta);
  record->encrypted_ = header->encrypted;
  record->bytes_ = std::move(bytes);
  return record;
}

RecordBytes BlockRecord::stamped(std::uint64_t place) const {
  RecordBytes copy(bytes_.size());
  std::memcpy(copy.data(), bytes_.data(), bytes_.size());
  stamp_place(copy.span().first(record_header_bytes(meta_.parts.size())), place);
  return copy;
}

std::span<const std::byte> BlockRecord::stored_part(std::size_t i) const {
  return std::span<const std::byte>(bytes_.span()).subspan(offsets_[i], parts_[i].stored_bytes);
}

bool BlockRecord::copy_part(std::size_t i, std::span<std::byte> out, const StoreKey* key) const {
  CAIRN_CHECK(i < meta_.parts.size() && out.size() == meta_.parts[i].bytes);
  const std::span<const std::byte> stored = stored_part(i);
  // Checksums do not prove who wrote a part: with a key only encrypted parts are taken.
  if (encrypted_ != (key != nullptr)) return false;
  if (!encrypted_) return copy_open_part(i, out);
  const PartForm form = parts_[i].form;
  if (form == PartForm::kPlain) return open_part(i, out, *key);
  const RecordBytes opened(stored.size() - StoreKey::kOverhead);
  const std::span<std::byte> compressed = opened.span().first(stored.size() - StoreKey::kOverhead);
  return open_part(i, compressed, *key) && decompress_part(form, compressed, out);
}

bool BlockRecord::copy_open_part(std::size_t i, std::span<std::byte> out) const {
  const std::span<const std::byte> stored = stored_part(i);
  const PartForm form = parts_[i].form;
  if (form == PartForm::kPlain) return copy_with_checksum(out, stored) == parts_[i].checksum;
  return checksum(stored) == parts_[i].checksum && decompress_part(form, stored, out);
}

bool BlockRecord::open_part(std::size_t i, std::span<std::byte> out, const StoreKey& key) const {
  // The nonce lies where record_header.cc writes it.
  StoreKey::Nonce nonce;
  std::memcpy(nonce.data(), bytes_.data() + kNonceAt, nonce.size());
  return key.open(nonce, static_cast<std::uint32_t>(i), part_context(meta_, i, parts_[i].form), stored_part(i), out);
}

bool BlockRecord::part_intact(std::size_t i) const {
  return checksum(stored_part(i)) == parts_[i].checksum;
}

bool BlockRecord::intact() const {
  for (std::size_t i = 0; i < meta_.parts.size(); ++i) {
    if (!part_intact(i)) return false;
  }
  return true;
}

bool BlockRecord::sound() const {
  if (encrypted_) return intact();
  std::vector<std::byte> out;
  for (std::size_t i = 0; i < meta_.parts.size(); ++i) {
    out.resize(meta_.parts[i].bytes);
    if (!copy_open_part(i, out)) return false;
  }
  return true;
}

std::string_view BlockRecord::unreadable_with(const StoreKey* key) const {
  if (!encrypted_) return key == nullptr ? "" : "stored without encryption, which --store-key does not take";
  if (key == nullptr) return "encrypted: give their key with --store-key";
  std::vector<std::byte> out(meta_.parts.front().bytes);
  return copy_part(0, out, key) ? "" : "encrypted with another key";
}

bool BlockRecord::same_parts(const BlockRecord& other) const {
  if (encrypted_ != other.encrypted_ || meta_.parts != other.meta_.parts) return false;
  for (std::size_t i = 0; i < meta_.parts.size(); ++i) {
    if (parts_[i].form != other.parts_[i].form) return false;
    if (!std::ranges::equal(stored_part(i), other.stored_part(i))) return false;
  }
  return true;
}

}  // namespace cairn

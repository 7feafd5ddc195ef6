// SPDX-License-Identifier: Apache-2.0
// One block as it is stored anywhere: a self-describing header, then its parts. docs/block-format.md gives the bytes.
//
// Part 0 is the block's tokens; then comes one part per slot of a page, layer by layer: K, then V. Parts carry their
// own checksums, so that a layer can be used as soon as it has been read. Bytes leave a record through copy_part alone,
// which verifies what it copies.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/store/record/record_bytes.h"

namespace cairn {

// Authenticated encryption of stored parts: XChaCha20-Poly1305 (libsodium), a fresh nonce for each record. Immutable
// value; wiped on destruction.
class StoreKey {
 public:
  static constexpr std::size_t kBytes = 32;
  static constexpr std::size_t kNonceBytes = 24;
  static constexpr std::size_t kOverhead = 16;  // bytes that encryption adds to a part

  using Nonce = std::array<std::uint8_t, kNonceBytes>;

  // A file of 64 hexadecimal digits, as `openssl rand -hex 32` writes. kInvalidArgument when it holds something else,
  // or when others than its owner may read it; the errors of read_file.
  static Result<StoreKey> from_file(const std::string& path);
  explicit StoreKey(const std::array<std::uint8_t, kBytes>& bytes);
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

inline constexpr std::uint32_t kRecordVersion = 2;
inline constexpr std::uint32_t kMaxParts = 8192;  // tokens and two slots of 4095 layers
inline constexpr std::size_t kMaxRecordBytes = std::size_t{1} << 30;

// Whether a record may have this length.
constexpr bool is_record_length(std::uint64_t bytes) {
  return bytes >= kDirectIoPage && bytes <= kMaxRecordBytes && bytes % kDirectIoPage == 0;
}

// How a part is stored (compression.h). As stored: never change a number.
enum class PartForm : std::uint32_t { kPlain = 0, kZstd = 1, kPlanes2 = 2, kPlanes4 = 3 };

inline constexpr std::uint32_t kPartForms = 4;

struct PartMeta {
  std::uint32_t bytes =
      0;                  // as the owner knows the part; stored it may be longer (encryption) or shorter (compression)
  std::uint32_t tag = 0;  // the owner's: which form the part has

  bool operator==(const PartMeta&) const = default;
};

struct BlockMeta {
  Digest key;
  Digest parent;  // key of the block before, or the chain's root
  Digest recipe;
  std::uint64_t tenant = 0;       // a tag, 0 for none: see tenant_tag()
  std::uint32_t depth = 0;        // blocks before it in its sequence
  std::int64_t created_s = 0;     // Unix time
  std::int64_t expires_s = 0;     // Unix time, 0 never
  bool compressed = false;        // parts may be stored compressed; says nothing of what they are
  std::vector<PartMeta> parts{};  // at least one, at most kMaxParts

  bool operator==(const BlockMeta&) const = default;
};

// Tenants are told apart by a hash in the store, so that names do not lie on disks.
std::uint64_t tenant_tag(std::string_view tenant);

// Why stored bytes are not the block that was asked for; one line.
using Refusal = std::string;

// "format version 1; this build reads version 2".
std::string format_version_text(std::uint32_t version);

// A sound record that another version of the format wrote.
struct ForeignRecord {
  std::uint32_t version = 0;
  Digest key;
  std::uint64_t place = 0;
  std::size_t bytes = 0;
};
// Nothing for records of this version, and for what is no record or is damaged. `header` may be longer than it is.
std::optional<ForeignRecord> foreign_record(std::span<const std::byte> header);

// A part as it lies in a record.
struct StoredPart {
  PartMeta meta;
  std::uint32_t stored_bytes = 0;
  PartForm form = PartForm::kPlain;
  std::uint64_t checksum = 0;  // of the stored bytes
};

// Immutable and thread-safe.
class BlockRecord {
 public:
  // What a record of these parts takes, header included; a multiple of kDirectIoPage.
  static std::size_t bytes_for(std::span<const PartMeta> parts, bool encrypted);

  // `contents` are the parts, as long as `meta` says. With a key the parts are encrypted. With `forms`, one for each
  // part, those that are not kPlain are what compress_part made of them. Requires: sensible meta.
  static std::shared_ptr<const BlockRecord> build(BlockMeta meta, std::span<const std::span<const std::byte>> contents,
                                                  const StoreKey* key = nullptr, std::span<const PartForm> forms = {});

  // Takes what a tier read. Verifies the header, not yet the parts. Refused: another key, format, place or length,
  // damage. `place` is what the tier gave to stamp(), 0 elsewhere. Never trusts a byte.
  static std::expected<std::shared_ptr<const BlockRecord>, Refusal> parse(RecordBytes bytes, std::uint64_t place,
                                                                          const Digest* key = nullptr);

  // How long a record is that begins with this header; an error if it is not the header of one.
  static std::expected<std::size_t, Refusal> length_of(std::span<const std::byte> first_page);
  // Only the header; the payload need not be there. `bytes` must hold all of it.
  static std::expected<BlockMeta, Refusal> parse_header(std::span<const std::byte> bytes, std::uint64_t place);

  const BlockMeta& meta() const { return meta_; }
  std::size_t size() const { return bytes_.size(); }
  // What it takes without compression, as bytes_for() says.
  std::size_t plain_size() const { return bytes_for(meta_.parts, encrypted_); }
  bool encrypted() const { return encrypted_; }
  std::span<const std::byte> bytes() const { return bytes_.span(); }

  // A copy whose header names the place it is written to, so that misdirected reads are noticed.
  RecordBytes stamped(std::uint64_t place) const;

  // Decompresses what is compressed; what comes out is what build() was given, as a checksum proves. False when the
  // part is damaged, encrypted with another key than `key`, or not encrypted though there is one; then `out` holds
  // nothing of use. Requires: i < meta().parts.size() and out.size() == meta().parts[i].bytes.
  bool copy_part(std::size_t i, std::span<std::byte> out, const StoreKey* key = nullptr) const;
  // Whether the checksum of the part's stored bytes holds; of all parts. Needs no key and decompresses nothing.
  bool part_intact(std::size_t i) const;
  bool intact() const;
  // The same, and parts that are not encrypted come out as they were put in.
  bool sound() const;
  // Why a reader with this key, or without one (null), does not take the block; empty when it does.
  std::string_view unreadable_with(const StoreKey* key) const;
  // Whether both hold the same stored bytes; their headers may differ in times and places.
  bool same_parts(const BlockRecord& other) const;
  // Where the part ends, from the record's first byte. Tiers may give a record before all its parts are there.
  std::size_t part_end(std::size_t i) const { return offsets_[i + 1]; }

 private:
  BlockRecord() = default;
  std::span<const std::byte> stored_part(std::size_t i) const;
  bool copy_open_part(std::size_t i, std::span<std::byte> out) const;  // of a record that is not encrypted
  bool open_part(std::size_t i, std::span<std::byte> out, const StoreKey& key) const;

  BlockMeta meta_;
  RecordBytes bytes_;
  std::vector<std::uint64_t> offsets_;
  std::vector<StoredPart> parts_;
  bool encrypted_ = false;
};

}  // namespace cairn

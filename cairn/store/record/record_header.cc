// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/record/record_header.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "cairn/base/check.h"
#include "cairn/base/checksum.h"

namespace cairn {
namespace {

constexpr std::size_t kFixedBytes = 192;
constexpr std::size_t kPartBytes = 24;
constexpr std::size_t kKeyAt = 32, kPlaceAt = 160;
constexpr std::size_t kPartAlignment = 64;
constexpr std::uint32_t kEncrypted = 1, kCompressed = 2;

class Writer {
 public:
  explicit Writer(std::span<std::byte> out) : out_(out) {}
  template <class T>
  void put(T value) {
    for (std::size_t i = 0; i < sizeof value; ++i) {
      out_[at_++] = static_cast<std::byte>(static_cast<std::make_unsigned_t<T>>(value) >> 8 * i);
    }
  }
  void put_bytes(const void* bytes, std::size_t count) {
    std::memcpy(out_.data() + at_, bytes, count);
    at_ += count;
  }

 private:
  std::span<std::byte> out_;
  std::size_t at_ = 0;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> in) : in_(in) {}
  template <class T>
  T get() {
    std::make_unsigned_t<T> value = 0;
    for (std::size_t i = 0; i < sizeof value; ++i) {
      value = static_cast<std::make_unsigned_t<T>>(value | static_cast<std::make_unsigned_t<T>>(in_[at_++]) << 8 * i);
    }
    return static_cast<T>(value);
  }
  void get_bytes(void* bytes, std::size_t count) {
    std::memcpy(bytes, in_.data() + at_, count);
    at_ += count;
  }

 private:
  std::span<const std::byte> in_;
  std::size_t at_ = 0;
};

std::uint64_t seal_of(std::span<const std::byte> header) {
  return checksum(header.first(header.size() - sizeof(std::uint64_t)));
}

void write_seal(std::span<std::byte> header) {
  Writer(header.last(sizeof(std::uint64_t))).put(seal_of(header));
}

}  // namespace

std::size_t record_header_bytes(std::size_t parts) {
  return round_to_io_page(kFixedBytes + parts * kPartBytes + sizeof(std::uint64_t));
}

std::size_t stated_header_bytes(std::span<const std::byte> first_page) {
  return Reader(first_page.subspan(sizeof kRecordMagic + sizeof kRecordVersion)).get<std::uint32_t>();
}

std::size_t RecordHeader::header_bytes() const {
  return record_header_bytes(parts.size());
}

std::vector<std::uint64_t> RecordHeader::offsets() const {
  std::vector<std::uint64_t> offsets;
  std::uint64_t at = header_bytes();
  for (const StoredPart& part : parts) {
    offsets.push_back(at);
    at += (part.stored_bytes + kPartAlignment - 1) / kPartAlignment * kPartAlignment;
  }
  offsets.push_back(round_to_io_page(at));
  return offsets;
}

void RecordHeader::write(std::span<std::byte> out) const {
  CAIRN_CHECK(out.size() == header_bytes());
  Writer writer(out);
  writer.put_bytes(kRecordMagic, sizeof kRecordMagic);
  writer.put(kRecordVersion);
  writer.put(static_cast<std::uint32_t>(header_bytes()));
  writer.put(offsets().back());
  writer.put(static_cast<std::uint32_t>(parts.size()));
  writer.put((encrypted ? kEncrypted : 0u) | (meta.compressed ? kCompressed : 0u));
  for (const Digest* digest : {&meta.key, &meta.parent, &meta.recipe}) {
    writer.put_bytes(digest->bytes.data(), digest->bytes.size());
  }
  writer.put(meta.tenant);
  writer.put(meta.depth);
  writer.put(std::uint32_t{0});
  writer.put(meta.created_s);
  writer.put(meta.expires_s);
  writer.put(place);
  writer.put_bytes(nonce.data(), nonce.size());
  for (const StoredPart& part : parts) {
    writer.put(part.meta.bytes);
    writer.put(part.stored_bytes);
    writer.put(part.meta.tag);
    writer.put(static_cast<std::uint32_t>(part.form));
    writer.put(part.checksum);
  }
  write_seal(out);
}

std::expected<RecordHeader, Refusal> RecordHeader::read(std::span<const std::byte> bytes) {
  if (bytes.size() < kDirectIoPage) return std::unexpected("shorter than a header");
  Reader reader(bytes);
  char magic[sizeof kRecordMagic];
  reader.get_bytes(magic, sizeof magic);
  if (std::memcmp(magic, kRecordMagic, sizeof magic) != 0) return std::unexpected("not a stored block");
  const auto version = reader.get<std::uint32_t>();
  const auto header_bytes = reader.get<std::uint32_t>();
  const auto record_bytes = reader.get<std::uint64_t>();
  const auto part_count = reader.get<std::uint32_t>();
  const auto flags = reader.get<std::uint32_t>();
  if (part_count == 0 || part_count > kMaxParts || header_bytes != record_header_bytes(part_count) ||
      header_bytes > bytes.size() || record_bytes > kMaxRecordBytes || record_bytes < header_bytes) {
    return std::unexpected("its header is damaged: lengths make no sense");
  }
  const std::span<const std::byte> all = bytes.first(header_bytes);
  if (Reader(all.last(sizeof(std::uint64_t))).get<std::uint64_t>() != seal_of(all)) {
    return std::unexpected("its header is damaged: the checksum differs");
  }
  if (version != kRecordVersion) {
    return std::unexpected(format_version_text(version));
  }
  if ((flags & ~(kEncrypted | kCompressed)) != 0) return std::unexpected("unknown flags: a newer build wrote it");
  RecordHeader header;
  header.encrypted = (flags & kEncrypted) != 0;
  header.meta.compressed = (flags & kCompressed) != 0;
  for (Digest* digest : {&header.meta.key, &header.meta.parent, &header.meta.recipe}) {
    reader.get_bytes(digest->bytes.data(), digest->bytes.size());
  }
  header.meta.tenant = reader.get<std::uint64_t>();
  header.meta.depth = reader.get<std::uint32_t>();
  reader.get<std::uint32_t>();
  header.meta.created_s = reader.get<std::int64_t>();
  header.meta.expires_s = reader.get<std::int64_t>();
  header.place = reader.get<std::uint64_t>();
  reader.get_bytes(header.nonce.data(), header.nonce.size());
  const std::uint64_t overhead = header.encrypted ? StoreKey::kOverhead : 0;
  std::uint64_t plain_bytes = 0;
  for (std::uint32_t i = 0; i < part_count; ++i) {
    StoredPart part;
    part.meta.bytes = reader.get<std::uint32_t>();
    part.stored_bytes = reader.get<std::uint32_t>();
    part.meta.tag = reader.get<std::uint32_t>();
    const auto form = reader.get<std::uint32_t>();
    part.checksum = reader.get<std::uint64_t>();
    if (form >= (header.meta.compressed ? kPartForms : 1)) return std::unexpected("a part has an unknown form");
    part.form = static_cast<PartForm>(form);
    // Compressed parts are shorter, or they would not be: what a record says it holds stays within what it could hold.
    const std::uint64_t plain = part.meta.bytes + overhead;
    const bool sensible =
        form == 0 ? part.stored_bytes == plain : part.stored_bytes < plain && part.stored_bytes >= overhead;
    if (!sensible) {
      return std::unexpected("a part's lengths contradict each other");
    }
    plain_bytes += plain;
    header.meta.parts.push_back(part.meta);
    header.parts.push_back(part);
  }
  if (header.offsets().back() != record_bytes) return std::unexpected("its parts do not fill it");
  if (plain_bytes > kMaxRecordBytes) return std::unexpected("its parts are longer than a record may be");
  return header;
}

std::string format_version_text(std::uint32_t version) {
  return "format version " + std::to_string(version) + "; this build reads version " + std::to_string(kRecordVersion);
}

// All versions agree on where the lengths, the key, the place and the seal are.
std::optional<ForeignRecord> foreign_record(std::span<const std::byte> header) {
  if (header.size() < kDirectIoPage || std::memcmp(header.data(), kRecordMagic, sizeof kRecordMagic) != 0) {
    return std::nullopt;
  }
  Reader reader(header.subspan(sizeof kRecordMagic));
  ForeignRecord record;
  record.version = reader.get<std::uint32_t>();
  const auto header_bytes = reader.get<std::uint32_t>();
  record.bytes = reader.get<std::uint64_t>();
  if (record.version == kRecordVersion || header_bytes < kDirectIoPage || header_bytes > header.size() ||
      !is_record_length(record.bytes) || header_bytes > record.bytes) {
    return std::nullopt;
  }
  const std::span<const std::byte> all = header.first(header_bytes);
  if (Reader(all.last(sizeof(std::uint64_t))).get<std::uint64_t>() != seal_of(all)) return std::nullopt;
  std::memcpy(record.key.bytes.data(), header.data() + kKeyAt, record.key.bytes.size());
  record.place = Reader(header.subspan(kPlaceAt)).get<std::uint64_t>();
  return record;
}

std::array<std::byte, 144> part_context(const BlockMeta& meta, std::size_t part, PartForm form) {
  std::array<std::byte, 144> context{};
  Writer writer(context);
  for (const Digest* digest : {&meta.key, &meta.parent, &meta.recipe}) {
    writer.put_bytes(digest->bytes.data(), digest->bytes.size());
  }
  writer.put(meta.tenant);
  writer.put(meta.depth);
  writer.put(static_cast<std::uint32_t>(part));
  writer.put(meta.created_s);
  writer.put(meta.expires_s);
  writer.put(static_cast<std::uint32_t>(meta.parts.size()));
  writer.put(meta.parts[part].bytes);
  writer.put(meta.parts[part].tag);
  writer.put(static_cast<std::uint32_t>(form));
  return context;
}

void stamp_place(std::span<std::byte> header, std::uint64_t place) {
  Writer(header.subspan(kPlaceAt)).put(place);
  write_seal(header);
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/codebooks.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "cairn/base/file.h"

namespace cairn {
namespace {

constexpr std::array<char, 8> kMagic = {'C', 'A', 'I', 'R', 'N', 'C', 'B', 'K'};
constexpr std::uint32_t kVersion = 1;
// More is a mistake, and sums of sizes within these limits cannot overflow.
constexpr std::uint32_t kMaxLayers = 1 << 16, kMaxHeads = 1 << 16, kMaxTableBytes = 1 << 28;
constexpr std::size_t kMaxFileBytes = std::size_t{1} << 32;

static_assert(std::endian::native == std::endian::little, "fields are stored as they lie in memory");

struct Head {
  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t codec_id = 0;
  std::array<std::uint8_t, 32> model{};
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t layers = 0;
  std::uint32_t table_bytes = 0;
};
static_assert(sizeof(Head) == 64);
static_assert(sizeof(Digest) == 32);

std::unexpected<Error> corrupt(std::string message) {
  return fail(ErrorCode::kCorrupt, std::move(message));
}

std::uint64_t file_bytes(const Head& head) {
  return sizeof(Head) + kPageSlots.size() * std::uint64_t{head.layers} * head.table_bytes + sizeof(Digest);
}

// Empty, or what is wrong.
std::string problem(const Head& head) {
  const auto out_of = [](const char* what, std::uint32_t value, std::uint32_t max) {
    return std::string(what) + " must be 1 to " + std::to_string(max) + ", not " + std::to_string(value);
  };
  if (head.layers == 0 || head.layers > kMaxLayers) return out_of("layers", head.layers, kMaxLayers);
  if (head.kv_heads == 0 || head.kv_heads > kMaxHeads) return out_of("KV heads", head.kv_heads, kMaxHeads);
  if (head.head_dim == 0 || head.head_dim > kMaxHeads) return out_of("channels of a head", head.head_dim, kMaxHeads);
  if (head.table_bytes == 0 || head.table_bytes > kMaxTableBytes) {
    return out_of("bytes of a table", head.table_bytes, kMaxTableBytes);
  }
  return file_bytes(head) > kMaxFileBytes ? "the tables are too large altogether" : "";
}

Head head_of(const Codebooks& books) {
  return {.codec_id = books.codec_id(),
          .model = books.model().bytes,
          .kv_heads = books.shape().kv_heads,
          .head_dim = books.shape().head_dim,
          .layers = books.layers(),
          .table_bytes = static_cast<std::uint32_t>(books.table_bytes())};
}

std::span<const std::byte> bytes_of(const Head& head) {
  return std::as_bytes(std::span(&head, 1));
}

Digest digest_of(std::span<const std::byte> before) {
  return Hasher("cairn.codebooks").bytes(before).finish();
}

}  // namespace

Result<Codebooks> Codebooks::make(Digest model, std::uint32_t codec_id, PageShape shape,
                                  std::vector<std::vector<std::byte>> tables) {
  const auto refuse = [](const std::string& why) { return fail(ErrorCode::kInvalidArgument, "codebooks: " + why); };
  if (tables.empty() || tables.size() % kPageSlots.size() != 0) return refuse("each layer needs two tables");
  if (tables.size() / kPageSlots.size() > kMaxLayers) return refuse("there are too many layers");
  const std::size_t size = tables.front().size();
  if (!std::ranges::all_of(tables, [&](const auto& table) { return table.size() == size; })) {
    return refuse("the tables have different sizes");
  }
  if (size > kMaxTableBytes) return refuse("a table is too large");
  Codebooks books;
  books.model_ = model;
  books.codec_id_ = codec_id;
  books.shape_ = shape;
  books.tables_ = std::move(tables);
  const Head head = head_of(books);
  if (const std::string wrong = problem(head); !wrong.empty()) return refuse(wrong);
  Hasher hasher("cairn.codebooks");
  hasher.bytes(bytes_of(head));
  for (const auto& table : books.tables_) hasher.bytes(table);
  books.digest_ = hasher.finish();
  return books;
}

Result<Codebooks> Codebooks::parse(std::span<const std::byte> bytes) {
  Head head;
  if (bytes.size() < kMagic.size() || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    return corrupt("these are no codebooks");
  }
  if (bytes.size() < sizeof head + sizeof(Digest)) return corrupt("the codebooks end inside their head");
  // Of all versions, so that a damaged number is not taken for another version.
  const auto body = bytes.first(bytes.size() - sizeof(Digest));
  Digest stored;
  std::memcpy(stored.bytes.data(), bytes.last<sizeof(Digest)>().data(), sizeof(Digest));
  if (digest_of(body) != stored) return corrupt("the codebooks are truncated or damaged");
  std::memcpy(&head, bytes.data(), sizeof head);
  if (head.version != kVersion) {
    return fail(ErrorCode::kUnsupported, "the codebooks have version " + std::to_string(head.version) +
                                             "; this build reads version " + std::to_string(kVersion));
  }
  if (const std::string wrong = problem(head); !wrong.empty()) return corrupt("the codebooks are wrong: " + wrong);
  if (file_bytes(head) != bytes.size()) {
    return corrupt("the codebooks have " + std::to_string(bytes.size()) + " bytes instead of the " +
                   std::to_string(file_bytes(head)) + " that their head announces");
  }
  std::vector<std::vector<std::byte>> tables(kPageSlots.size() * head.layers);
  auto rest = body.subspan(sizeof head);
  for (auto& table : tables) {
    table.assign(rest.begin(), rest.begin() + head.table_bytes);
    rest = rest.subspan(head.table_bytes);
  }
  return make(Digest{head.model}, head.codec_id, {head.kv_heads, head.head_dim}, std::move(tables));
}

Result<Codebooks> Codebooks::read(const std::string& path) {
  CAIRN_TRY(const std::vector<std::byte> bytes, read_file(path, kMaxFileBytes));
  Result<Codebooks> books = parse(bytes);
  if (!books) return fail(books.error().code, "'" + path + "': " + books.error().message);
  return books;
}

Status Codebooks::write(const std::string& path) const {
  return write_file(path, bytes());
}

std::vector<std::byte> Codebooks::bytes() const {
  const Head head = head_of(*this);
  std::vector<std::byte> bytes(file_bytes(head));
  std::size_t at = 0;
  const auto append = [&](std::span<const std::byte> part) {
    std::memcpy(bytes.data() + at, part.data(), part.size());
    at += part.size();
  };
  append(bytes_of(head));
  for (const auto& table : tables_) append(table);
  append(std::as_bytes(std::span(digest_.bytes)));
  return bytes;
}

const std::byte* Codebooks::table(std::uint32_t layer, PageSlot slot) const {
  return tables_[LayerSlot{layer, slot}.index()].data();
}

}  // namespace cairn

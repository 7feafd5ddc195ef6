// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/codebooks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "cairn/base/file.h"

namespace cairn {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<std::byte>;

constexpr std::size_t kHeadBytes = 64, kDigestBytes = 32;
constexpr PageShape kShape{.kv_heads = 2, .head_dim = 8};

Digest model() {
  Digest digest;
  for (std::size_t i = 0; i < 32; ++i) digest.bytes[i] = static_cast<std::uint8_t>(i);
  return digest;
}

// Two layers with tables of four bytes: 0 1 2 3, 16 17 18 19, ...
Codebooks small_books() {
  std::vector<Bytes> tables;
  for (int t = 0; t < 4; ++t) {
    Bytes& table = tables.emplace_back();
    for (int i = 0; i < 4; ++i) table.push_back(static_cast<std::byte>(16 * t + i));
  }
  auto books = Codebooks::make(model(), 7, kShape, std::move(tables));
  EXPECT_TRUE(books) << books.error().message;
  return *std::move(books);
}

Error error_of(const Bytes& bytes) {
  const auto books = Codebooks::parse(bytes);
  if (books) return {ErrorCode::kInternal, "parsed without an error"};
  EXPECT_EQ(books.error().message.find('\n'), std::string::npos);
  return books.error();
}

template <class T>
void set(Bytes& bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

// Makes the digest right again, as a forger of a file would.
Bytes sealed(Bytes bytes) {
  const std::size_t before = bytes.size() - kDigestBytes;
  const Digest digest = Hasher("cairn.codebooks").bytes(std::span(bytes).first(before)).finish();
  std::memcpy(bytes.data() + before, digest.bytes.data(), kDigestBytes);
  return bytes;
}

TEST(Codebooks, ComeBackAsTheyWere) {
  const Codebooks books = small_books();
  const auto again = Codebooks::parse(books.bytes());
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->model(), model());
  EXPECT_EQ(again->codec_id(), 7u);
  EXPECT_EQ(again->shape(), kShape);
  EXPECT_EQ(again->layers(), 2u);
  EXPECT_EQ(again->table_bytes(), 4u);
  EXPECT_EQ(again->table(0, PageSlot::kKeys)[0], std::byte{0});
  EXPECT_EQ(again->table(0, PageSlot::kValues)[1], std::byte{17});
  EXPECT_EQ(again->table(1, PageSlot::kValues)[3], std::byte{51});
  EXPECT_EQ(again->digest(), books.digest());
  EXPECT_EQ(again->bytes(), books.bytes());
}

// The bytes of the file, field by field, as docs/codecs.md has them; the digest is another implementation's of BLAKE2b.
TEST(Codebooks, Golden) {
  const std::vector<std::pair<std::string, std::string>> fields = {
      {"magic", "434149524e43424b"},
      {"version", "01000000"},
      {"codec id", "07000000"},
      {"model", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"},
      {"KV heads", "02000000"},
      {"channels of a head", "08000000"},
      {"layers", "02000000"},
      {"bytes of a table", "04000000"},
      {"layer 0, K", "00010203"},
      {"layer 0, V", "10111213"},
      {"layer 1, K", "20212223"},
      {"layer 1, V", "30313233"},
      {"digest", "90b59585b4addb71854985b33e0e50fda7a601bcb34c75eb7a19cb3caa3bb343"}};
  const Codebooks books = small_books();
  std::string hex;
  for (const std::byte byte : books.bytes()) {
    hex += "0123456789abcdef"[std::to_integer<int>(byte >> 4)];
    hex += "0123456789abcdef"[std::to_integer<int>(byte & std::byte{15})];
  }
  std::string expected;
  for (const auto& [name, field] : fields) expected += field;
  EXPECT_EQ(hex, expected);
  EXPECT_TRUE(hex.ends_with(books.digest().hex()));
}

TEST(Codebooks, EveryTruncationIsNoticed) {
  const Bytes whole = small_books().bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    // A copy of exact length, so that a sanitizer sees any read past the end.
    const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(error_of(part).code, ErrorCode::kCorrupt) << size;
    if (size < kHeadBytes + kDigestBytes) continue;
    EXPECT_EQ(error_of(sealed(part)).code, ErrorCode::kCorrupt) << size;
  }
  Bytes longer = whole;
  longer.push_back(std::byte{0});
  EXPECT_EQ(error_of(longer).code, ErrorCode::kCorrupt);
  EXPECT_THAT(error_of(sealed(longer)).message, HasSubstr("113 bytes instead of the 112"));
}

TEST(Codebooks, EveryFlippedBitIsNoticed) {
  const Bytes whole = small_books().bytes();
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    Bytes bytes = whole;
    bytes[bit / 8] ^= std::byte(1 << (bit % 8));
    EXPECT_EQ(error_of(bytes).code, ErrorCode::kCorrupt) << "bit " << bit;
  }
}

// With a digest that fits, since nonsense can have a digest too.
TEST(Codebooks, SizesThatMakeNoSenseAreRefusedBeforeAllocating) {
  const Bytes whole = small_books().bytes();
  for (const std::size_t at : {48, 52, 56, 60}) {  // KV heads, channels, layers, bytes of a table
    for (const std::uint32_t value : {0u, 1u << 31, UINT32_MAX}) {
      Bytes bytes = whole;
      set(bytes, at, value);
      EXPECT_EQ(error_of(sealed(bytes)).code, ErrorCode::kCorrupt) << at << ": " << value;
      EXPECT_THAT(error_of(sealed(bytes)).message, HasSubstr("not " + std::to_string(value)));
    }
  }
  for (const auto& [layers, table_bytes] :
       {std::pair{1u << 16, 1u << 28}, {1u << 16, 4u}, {2u, 1u << 28}, {1u, 4u}, {4u, 4u}, {2u, 5u}, {2u, 3u}}) {
    Bytes bytes = whole;
    set(bytes, 56, layers);
    set(bytes, 60, table_bytes);
    EXPECT_EQ(error_of(sealed(bytes)).code, ErrorCode::kCorrupt) << layers << " x " << table_bytes;
  }
  Bytes halves = whole;  // other numbers with the same product are a file like any other
  set(halves, 56, 4u);
  set(halves, 60, 2u);
  EXPECT_TRUE(Codebooks::parse(sealed(halves)));
}

TEST(Codebooks, AnotherVersionIsNoDamage) {
  Bytes bytes = small_books().bytes();
  set(bytes, 8, 2u);
  EXPECT_EQ(error_of(sealed(bytes)).code, ErrorCode::kUnsupported);
  EXPECT_EQ(error_of(bytes).code, ErrorCode::kCorrupt);
}

TEST(Codebooks, TheDigestDependsOnEverything) {
  const Codebooks books = small_books();
  std::vector<Digest> digests = {books.digest()};
  const auto add = [&](const Digest& of, std::uint32_t id, PageShape shape, std::vector<Bytes> tables) {
    const auto made = Codebooks::make(of, id, shape, std::move(tables));
    ASSERT_TRUE(made);
    for (const Digest& other : digests) EXPECT_NE(made->digest(), other);
    digests.push_back(made->digest());
  };
  const std::vector<Bytes> tables(2, Bytes(8));
  add(model(), 7, kShape, tables);
  add(Digest{}, 7, kShape, tables);
  add(model(), 8, kShape, tables);
  add(model(), 7, {8, 2}, tables);
  add(model(), 7, kShape, std::vector<Bytes>(4, Bytes(4)));
  add(model(), 7, kShape, {Bytes(8), Bytes(8, std::byte{1})});
}

TEST(Codebooks, MakeRefusesWhatMakesNoSense) {
  const auto refused = [](PageShape shape, std::vector<Bytes> tables) {
    const auto books = Codebooks::make(model(), 7, shape, std::move(tables));
    return !books && books.error().code == ErrorCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused(kShape, {}));
  EXPECT_TRUE(refused(kShape, {Bytes(4)}));
  EXPECT_TRUE(refused(kShape, {Bytes(4), Bytes(4), Bytes(4)}));
  EXPECT_TRUE(refused(kShape, {Bytes(4), Bytes(5)}));
  EXPECT_TRUE(refused(kShape, {Bytes(), Bytes()}));
  EXPECT_TRUE(refused({0, 8}, {Bytes(4), Bytes(4)}));
  EXPECT_TRUE(refused({2, 0}, {Bytes(4), Bytes(4)}));
  EXPECT_TRUE(refused({2, UINT32_MAX}, {Bytes(4), Bytes(4)}));
  EXPECT_FALSE(refused(kShape, {Bytes(4), Bytes(4)}));
}

TEST(Codebooks, Files) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("cairn-codebooks-" + std::to_string(::getpid()))).string();
  EXPECT_EQ(Codebooks::read(path).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(small_books().write(path));
  const auto books = Codebooks::read(path);
  ASSERT_TRUE(books);
  EXPECT_EQ(books->digest(), small_books().digest());
  ASSERT_TRUE(write_file(path, "model"));
  EXPECT_EQ(Codebooks::read(path).error().message, "'" + path + "': these are no codebooks");
  std::filesystem::remove(path);
  EXPECT_EQ(small_books().write(path + "-none/file").error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace cairn

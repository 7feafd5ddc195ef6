// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/record/compression.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>
#include <cstring>

#include "cairn/base/checksum.h"
#include "cairn/base/file.h"
#include "cairn/store/ram_tier.h"
#include "cairn/store/record/record_header.h"
#include "cairn/store/store.h"
#include "cairn/testing/stored_blocks.h"

namespace cairn {
namespace {

constexpr std::size_t kFirstPartAt = 192, kPartBytes = 24;

const StoreKey& a_key() {
  static const StoreKey key({7, 2, 3});
  return key;
}

TestBlock dull_block() {
  return {.number = 41,
          .part_bytes = {256, 20000, 30001},
          .tenant = 5,
          .expires_s = 77,
          .parent = 40,
          .depth = 3,
          .dull = true};
}

std::shared_ptr<const BlockRecord> compressed(const TestBlock& block, const StoreKey* key = nullptr) {
  auto record = compress_record(*block.record(key), 3, key);
  EXPECT_TRUE(record && *record != nullptr);
  return *record;
}

void seal_anew(RecordBytes& bytes, std::size_t parts) {
  std::uint64_t place;
  std::memcpy(&place, bytes.data() + 160, sizeof place);
  stamp_place(bytes.span().first(record_header_bytes(parts)), place);
}

template <class T>
void poke(RecordBytes& bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

// What a reader gets of a part: it is right, or it is nothing.
bool wrong_bytes(const BlockRecord& record, const TestBlock& block, const StoreKey* key) {
  const auto contents = block.contents();
  for (std::size_t i = 0; i < std::min(contents.size(), record.meta().parts.size()); ++i) {
    if (record.meta().parts[i].bytes > 1 << 20) continue;  // the owner knows better
    std::vector<std::byte> out(record.meta().parts[i].bytes);
    if (record.copy_part(i, out, key) && out != contents[i]) return true;
  }
  return false;
}

// Runs, repetitions, halves, noise: whatever parts may hold.
rc::Gen<std::vector<std::byte>> any_part() {
  return rc::gen::apply(
      [](std::uint64_t seed, std::size_t length, std::uint8_t mask, std::uint8_t stride) {
        std::vector<std::byte> bytes = test_bytes(seed, length);
        for (std::size_t i = 0; i < bytes.size(); ++i) {
          if (i % (1 + stride % 5) == 0) bytes[i] &= std::byte{mask};
        }
        return bytes;
      },
      rc::gen::arbitrary<std::uint64_t>(), rc::gen::inRange<std::size_t>(0, 200'000),
      rc::gen::element<std::uint8_t>(0, 1, 7, 0x3f, 0xff), rc::gen::arbitrary<std::uint8_t>());
}

RC_GTEST_PROP(CompressPart, GivesBackEveryByte, ()) {
  const auto plain = *any_part();
  const auto part = compress_part(plain, *rc::gen::element(1, 3, 9));
  if (!part) return;
  RC_ASSERT(part->bytes.size() < plain.size());
  std::vector<std::byte> out(plain.size());
  RC_ASSERT(decompress_part(part->form, part->bytes, out));
  RC_ASSERT(out == plain);
  auto longer = part->bytes;
  longer.insert(longer.end(), part->bytes.begin() + 8, part->bytes.end());
  RC_ASSERT(!decompress_part(part->form, longer, out));
  // As another length or in another form it is nothing.
  for (const std::size_t other : {plain.size() - 1, plain.size() + 1, std::size_t{0}}) {
    std::vector<std::byte> wrong(other);
    RC_ASSERT(!decompress_part(part->form, part->bytes, wrong));
  }
  for (std::uint32_t form = 0; form < kPartForms + 2; ++form) {
    if (static_cast<PartForm>(form) != part->form) {
      RC_ASSERT(!decompress_part(static_cast<PartForm>(form), part->bytes, out));
    }
  }
}

// Without the checksum that the record keeps of what is stored.
RC_GTEST_PROP(CompressPart, DamageIsRefusedOrHarmless, ()) {
  const auto plain = *any_part();
  auto part = compress_part(plain, 3);
  RC_PRE(part.has_value());
  std::vector<std::byte> out(plain.size());
  for (int i = 0; i < 20; ++i) {
    auto bytes = part->bytes;
    const auto bit =
        *rc::gen::inRange<std::size_t>(0, 8 * std::min<std::size_t>(bytes.size(), i % 2 == 0 ? 40 : SIZE_MAX));
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
    if (i % 5 == 0) bytes.resize(*rc::gen::inRange<std::size_t>(0, bytes.size()));
    RC_ASSERT(!decompress_part(part->form, bytes, out) || out == plain);
  }
}

TEST(CompressPart, SplitsBytesWhereThatHelps) {
  std::vector<std::byte> halves = test_bytes(1, 100'000), floats = test_bytes(2, 100'000), text(100'000);
  for (std::size_t i = 1; i < halves.size(); i += 2) halves[i] &= std::byte{3};
  for (std::size_t i = 3; i < floats.size(); i += 4) floats[i] &= std::byte{3};
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<std::byte>("to be or not to be "[i % 19]);
  EXPECT_EQ(compress_part(halves, 3)->form, PartForm::kPlanes2);
  EXPECT_LT(compress_part(halves, 3)->bytes.size(), 67'000u);
  EXPECT_EQ(compress_part(floats, 3)->form, PartForm::kPlanes4);
  EXPECT_EQ(compress_part(text, 3)->form, PartForm::kZstd);
  EXPECT_FALSE(compress_part(test_bytes(3, 100'000), 3)) << "noise does not shrink";
  EXPECT_FALSE(compress_part({}, 3));
}

// A frame that would unfold to more than the part is.
TEST(CompressPart, AFrameOfAnotherLengthIsRefused) {
  const std::vector<std::byte> zeros(std::size_t{32} << 20);
  const auto bomb = compress_part(zeros, 3);
  ASSERT_TRUE(bomb);
  ASSERT_LT(bomb->bytes.size(), 10'000u);
  std::vector<std::byte> guarded(2000, std::byte{0xee});
  EXPECT_FALSE(decompress_part(bomb->form, bomb->bytes, std::span(guarded).first(1000)));
  for (std::size_t i = 1000; i < guarded.size(); ++i) ASSERT_EQ(guarded[i], std::byte{0xee});
}

TEST(CompressRecord, GivesBackTheSameBlock) {
  for (const StoreKey* key : {static_cast<const StoreKey*>(nullptr), &a_key()}) {
    const TestBlock block = dull_block();
    const auto plain = block.record(key);
    const auto record = compressed(block, key);
    EXPECT_LT(record->size(), plain->size());
    EXPECT_EQ(record->plain_size(), plain->size());
    EXPECT_TRUE(block.equals(*record, key));
    EXPECT_TRUE(record->intact());
    EXPECT_TRUE(record->meta().compressed);
    EXPECT_FALSE(plain->meta().compressed);
    BlockMeta meta = record->meta();
    meta.compressed = false;
    EXPECT_EQ(meta, plain->meta());
    const Digest digest = test_key(block.number);
    const auto parsed = BlockRecord::parse(record->stamped(9), 9, &digest);
    ASSERT_TRUE(parsed) << parsed.error();
    EXPECT_TRUE(block.equals(**parsed, key));
    EXPECT_EQ(BlockRecord::parse_header(record->bytes(), 0)->compressed, true);
    EXPECT_EQ(*compress_record(*record, 3, key), nullptr) << "it is as small as it gets";
  }
}

TEST(CompressRecord, LeavesAloneWhatWouldNotTakeAPageLess) {
  EXPECT_EQ(*compress_record(*TestBlock{.number = 1, .part_bytes = {256, 20000}}.record(), 3), nullptr);
  EXPECT_EQ(*compress_record(*TestBlock{.number = 1, .part_bytes = {256, 2000}, .dull = true}.record(), 3), nullptr);
}

TEST(CompressRecord, RefusesWhatItCannotVerify) {
  const StoreKey other({9});
  const TestBlock block = dull_block();
  EXPECT_EQ(compress_record(*block.record(&a_key()), 3).error(), "it is encrypted");
  EXPECT_EQ(compress_record(*block.record(&a_key()), 3, &other).error(), "it is damaged or encrypted with another key");
  const auto plain = compress_record(*block.record(), 3, &a_key());
  ASSERT_TRUE(plain && *plain != nullptr);
  EXPECT_FALSE((*plain)->encrypted()) << "it stays as it was";
  RecordBytes bytes = block.record()->stamped(0);
  bytes.data()[5000] ^= std::byte{1};
  EXPECT_EQ(compress_record(**BlockRecord::parse(std::move(bytes), 0), 3).error(), "it is damaged");
}

TEST(CompressRecord, NoFlippedBitGoesUnnoticed) {
  for (const StoreKey* key : {static_cast<const StoreKey*>(nullptr), &a_key()}) {
    const TestBlock block = dull_block();
    const auto record = compressed(block, key);
    const std::size_t header_bits = 8 * record_header_bytes(3);
    for (std::size_t bit = 0; bit < 8 * record->size(); bit += bit < header_bits ? 1 : 211) {
      RecordBytes bytes = record->stamped(0);
      bytes.data()[bit / 8] ^= std::byte{1} << bit % 8;
      const auto parsed = BlockRecord::parse(std::move(bytes), 0);
      ASSERT_EQ(parsed.has_value(), bit >= header_bits) << bit;
      if (!parsed) continue;
      ASSERT_EQ((*parsed)->intact(), block.equals(**parsed, key)) << bit;  // in the padding or in a part
      ASSERT_FALSE(wrong_bytes(**parsed, block, key)) << bit;
    }
  }
}

// Flipped bits under a header whose checksum was made right again give no wrong byte either.
TEST(CompressRecord, ASealedLieGivesNoWrongByte) {
  for (const StoreKey* key : {static_cast<const StoreKey*>(nullptr), &a_key()}) {
    const TestBlock block = dull_block();
    const auto record = compressed(block, key);
    for (std::size_t bit = 0; bit < 8 * (kFirstPartAt + 3 * kPartBytes); ++bit) {
      RecordBytes bytes = record->stamped(0);
      bytes.data()[bit / 8] ^= std::byte{1} << bit % 8;
      seal_anew(bytes, 3);
      const auto parsed = BlockRecord::parse(std::move(bytes), 0);
      ASSERT_FALSE(parsed && wrong_bytes(**parsed, block, key)) << bit;
    }
  }
}

// All checksums are right, so only who decompresses it can tell.
TEST(CompressRecord, APartThatDoesNotDecompressIsDamage) {
  TestBlock dull = dull_block();
  dull.expires_s = 0;
  RecordBytes bytes = compressed(dull)->stamped(0);
  poke(bytes, kFirstPartAt + kPartBytes + 12, static_cast<std::uint32_t>(PartForm::kPlanes4));
  seal_anew(bytes, 3);
  const auto record = BlockRecord::parse(std::move(bytes), 0);
  ASSERT_TRUE(record) << record.error();
  EXPECT_TRUE((*record)->intact());
  EXPECT_FALSE((*record)->sound());
  EXPECT_TRUE(compressed(dull)->sound());

  StoreOptions options;
  options.tiers.push_back(*RamTier::create({.budget_bytes = 1 << 20}));
  Tier& tier = *options.tiers.front();
  ASSERT_EQ(tier.put({&*record, 1}, Deadline::max())[0], BlockStatus::kOk);
  Store store(std::move(options));
  const auto load = store.load({test_key(41)}, Deadline::max());
  const LoadedBlock block = load->wait(0);
  ASSERT_EQ(block.status, BlockStatus::kOk);
  std::vector<std::byte> out(20000);
  EXPECT_FALSE(store.copy_part(block, 1, out));
  EXPECT_EQ(tier.stats().corrupt, 1u);
  EXPECT_EQ(tier.contains({{test_key(41)}}, Deadline::max())[0], BlockStatus::kMiss);
}

TEST(CompressRecord, AHeaderDoesNotPromiseMoreThanARecordMayHold) {
  const auto record = compressed(dull_block());
  const auto read = [&](std::uint32_t first, std::uint32_t second) {
    RecordBytes bytes = record->stamped(0);
    poke(bytes, kFirstPartAt + kPartBytes, first);
    poke(bytes, kFirstPartAt + 2 * kPartBytes, second);
    seal_anew(bytes, 3);
    const auto parsed = BlockRecord::parse(std::move(bytes), 0);
    return parsed ? std::string() : parsed.error();
  };
  EXPECT_EQ(read(20000, 30001), "");
  EXPECT_EQ(read(UINT32_MAX, 30001), "its parts are longer than a record may be");
  EXPECT_EQ(read(600u << 20, 600u << 20), "its parts are longer than a record may be");
  EXPECT_EQ(read(20000, 10), "a part's lengths contradict each other");
}

TEST(CompressRecord, FormsNeedTheFlagAndTheFlagIsKnown) {
  const auto read = [](const BlockRecord& record, std::size_t at, std::uint32_t value) {
    RecordBytes bytes = record.stamped(0);
    poke(bytes, at, value);
    seal_anew(bytes, record.meta().parts.size());
    const auto parsed = BlockRecord::parse(std::move(bytes), 0);
    return parsed ? std::string() : parsed.error();
  };
  const auto plain = dull_block().record(), small = compressed(dull_block());
  EXPECT_EQ(read(*plain, kFirstPartAt + kPartBytes + 12, 1), "a part has an unknown form");
  EXPECT_EQ(read(*small, kFirstPartAt + kPartBytes + 12, kPartForms), "a part has an unknown form");
  EXPECT_EQ(read(*small, 28, 0), "a part has an unknown form");
  EXPECT_EQ(read(*small, 28, 4), "unknown flags: a newer build wrote it");
}

TEST(CompressRecord, EncryptionVouchesForTheForm) {
  const BlockMeta meta = dull_block().record()->meta();
  EXPECT_NE(part_context(meta, 1, PartForm::kPlain), part_context(meta, 1, PartForm::kZstd));
}

// The files never change, whatever zstd writes by then.
TEST(CompressRecord, ReadsTheGoldenFiles) {
  const std::string folder = std::string(CAIRN_SOURCE_DIR) + "/cairn/store/golden/";
  const TestBlock block = dull_block();
  for (const StoreKey* key : {static_cast<const StoreKey*>(nullptr), &a_key()}) {
    const std::string path =
        folder + (key != nullptr ? "block_v2_compressed_encrypted.rec" : "block_v2_compressed.rec");
    if (std::getenv("CAIRN_WRITE_GOLDEN") != nullptr) {
      ASSERT_TRUE(write_file(path, compressed(block, key)->bytes()));
    }
    const auto file = read_file(path, 1 << 20);
    ASSERT_TRUE(file) << file.error().message;
    RecordBytes bytes(file->size());
    ASSERT_EQ(bytes.size(), file->size());
    std::memcpy(bytes.data(), file->data(), file->size());
    const auto record = BlockRecord::parse(std::move(bytes), 0);
    ASSERT_TRUE(record) << record.error();
    EXPECT_TRUE((*record)->meta().compressed);
    EXPECT_TRUE(block.equals(**record, key));
    EXPECT_EQ((*record)->meta().parent, test_key(40));
  }
}

}  // namespace
}  // namespace cairn

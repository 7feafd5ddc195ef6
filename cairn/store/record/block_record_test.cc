// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/record/block_record.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <cstdlib>
#include <cstring>

#include "cairn/base/file.h"
#include "cairn/store/record/record_header.h"
#include "cairn/testing/stored_blocks.h"

namespace cairn {
namespace {

RecordBytes copy_of(const BlockRecord& record) {
  return record.stamped(0);
}

StoreKey a_key(std::uint8_t first) {
  return StoreKey({first, 2, 3});
}

TEST(BlockRecord, GivesBackWhatItWasBuiltFrom) {
  for (const std::vector<std::uint32_t>& sizes :
       {std::vector<std::uint32_t>{1}, {256, 64, 0, 65}, std::vector<std::uint32_t>(300, 100), {256, 1 << 20}}) {
    const TestBlock block{.number = 7, .part_bytes = sizes};
    const auto record = block.record();
    EXPECT_TRUE(block.equals(*record));
    const Digest key = test_key(7);
    const auto parsed = BlockRecord::parse(copy_of(*record), 0, &key);
    ASSERT_TRUE(parsed) << parsed.error();
    EXPECT_TRUE(block.equals(**parsed));
    EXPECT_EQ((*parsed)->meta(), record->meta());
    EXPECT_EQ(record->size(), BlockRecord::bytes_for(record->meta().parts, false));
  }
}

// Every byte of the header and some of each part: what is damaged never comes out as the block.
TEST(BlockRecord, NoFlippedBitGoesUnnoticed) {
  const TestBlock block{.number = 3, .part_bytes = {256, 500, 700}};
  const auto record = block.record();
  const Digest key = test_key(3);
  for (std::size_t bit = 0; bit < 8 * record->size(); bit += bit < 8 * 320 ? 1 : 13) {
    RecordBytes bytes = copy_of(*record);
    bytes.data()[bit / 8] ^= std::byte{1} << bit % 8;
    const auto parsed = BlockRecord::parse(std::move(bytes), 0, &key);
    if (!parsed) continue;
    // What survives parsing lies outside the header: in a part, or in the padding behind one.
    if ((*parsed)->intact()) {
      EXPECT_TRUE(block.equals(**parsed)) << bit;
    } else {
      EXPECT_FALSE(block.equals(**parsed)) << bit;
    }
  }
}

TEST(BlockRecord, RefusesOtherBlocksPlacesAndLengths) {
  const auto record = TestBlock{.number = 1}.record();
  const Digest mine = test_key(1), other = test_key(2);
  EXPECT_EQ(BlockRecord::parse(copy_of(*record), 0, &other).error(), "it is another block");
  EXPECT_EQ(BlockRecord::parse(record->stamped(9), 8, &mine).error(), "it was written for another place");
  EXPECT_TRUE(BlockRecord::parse(record->stamped(9), 9, &mine));
  RecordBytes longer(record->size() + kDirectIoPage);
  std::memset(longer.data(), 0, longer.size());
  std::memcpy(longer.data(), record->bytes().data(), record->size());
  EXPECT_EQ(BlockRecord::parse(std::move(longer), 0, &mine).error(), "it is cut short");
  RecordBytes shorter(kDirectIoPage);
  std::memcpy(shorter.data(), record->bytes().data(), kDirectIoPage);
  EXPECT_EQ(BlockRecord::parse(std::move(shorter), 0, &mine).error(), "it is cut short");
  EXPECT_FALSE(BlockRecord::parse(RecordBytes(0), 0, &mine));
}

TEST(BlockRecord, NamesANewerFormat) {
  const auto record = TestBlock{.number = 1}.record();
  RecordBytes bytes = copy_of(*record);
  bytes.data()[8] = std::byte{3};
  stamp_place(bytes.span().first(kDirectIoPage), 0);  // seals the header anew
  EXPECT_EQ(BlockRecord::parse(std::move(bytes), 0).error(), "format version 3; this build reads version 2");
}

// In a process of its own, as ctest runs it: nobody else has initialised the library before.
TEST(StoreKey, TheLibraryIsInitialisedBeforeThereIsAKey) {
  const StoreKey key = a_key(1);
  EXPECT_EQ(sodium_init(), 1) << "0: this call was the first";
}

TEST(BlockRecord, EncryptedPartsNeedTheirKey) {
  const StoreKey right = a_key(1), wrong = a_key(9);
  const TestBlock block{.number = 5};
  const auto record = block.record(&right);
  EXPECT_TRUE(block.equals(*record, &right));
  EXPECT_FALSE(block.equals(*record, &wrong));
  EXPECT_FALSE(block.equals(*record));
  EXPECT_TRUE(record->intact());
  EXPECT_FALSE(block.equals(*block.record(), &right)) << "anybody could have written a record without encryption";
  const std::vector<std::byte> tokens = block.contents()[0];
  const std::string_view all(reinterpret_cast<const char*>(record->bytes().data()), record->size());
  EXPECT_EQ(all.find({reinterpret_cast<const char*>(tokens.data()), 16}), std::string_view::npos);
  // Even with the checksums made right again, changed bytes are refused.
  EXPECT_NE(block.record(&right)->bytes()[kNonceAt], record->bytes()[kNonceAt]) << "a nonce was used twice";
}

// A record that version 1 wrote: it is named, and none of its bytes comes out.
TEST(BlockRecord, NamesARecordOfVersionOne) {
  const auto file = read_file(std::string(CAIRN_SOURCE_DIR) + "/cairn/store/golden/block_v1.rec", 1 << 20);
  ASSERT_TRUE(file) << file.error().message;
  RecordBytes bytes(file->size());
  std::memcpy(bytes.data(), file->data(), file->size());
  const auto foreign = foreign_record(bytes.span());
  ASSERT_TRUE(foreign);
  EXPECT_EQ(foreign->version, 1u);
  EXPECT_EQ(foreign->key, test_key(41));
  EXPECT_EQ(foreign->bytes, file->size());
  EXPECT_EQ(BlockRecord::parse_header(bytes.span(), 0).error(), "format version 1; this build reads version 2");
  for (std::size_t bit = 0; bit < 8 * kDirectIoPage; ++bit) {  // what is damaged is not a record of any version
    bytes.data()[bit / 8] ^= std::byte{1} << bit % 8;
    EXPECT_FALSE(foreign_record(bytes.span())) << bit;
    bytes.data()[bit / 8] ^= std::byte{1} << bit % 8;
  }
  EXPECT_FALSE(foreign_record(bytes.span().first(100)));
  EXPECT_EQ(BlockRecord::parse(std::move(bytes), 0).error(), "format version 1; this build reads version 2");
  EXPECT_FALSE(foreign_record(TestBlock{.number = 1}.record()->bytes())) << "it is one of this version";
}

TEST(BlockRecord, HoldsTwoSlotsOfAsManyLayersAsEver) {
  const TestBlock block{.number = 9, .part_bytes = std::vector<std::uint32_t>(1 + 2 * 4095, 3)};
  const auto record = block.record();
  const auto parsed = BlockRecord::parse(copy_of(*record), 0);
  ASSERT_TRUE(parsed) << parsed.error();
  EXPECT_TRUE(block.equals(**parsed));
}

// Records that version 2 wrote; the files never change. docs/block-format.md says what is in them.
TEST(BlockRecord, ReadsTheGoldenFiles) {
  const std::string folder = std::string(CAIRN_SOURCE_DIR) + "/cairn/store/golden/";
  const StoreKey key = a_key(7);
  for (const bool encrypted : {false, true}) {
    const std::string path = folder + (encrypted ? "block_v2_encrypted.rec" : "block_v2.rec");
    const TestBlock block{
        .number = 41, .part_bytes = {256, 100, 300}, .tenant = 5, .expires_s = 77, .parent = 40, .depth = 3};
    if (std::getenv("CAIRN_WRITE_GOLDEN") != nullptr) {
      const auto record = block.record(encrypted ? &key : nullptr);
      ASSERT_TRUE(write_file(path, record->bytes()));
    }
    const auto file = read_file(path, 1 << 20);
    ASSERT_TRUE(file) << file.error().message;
    RecordBytes bytes(file->size());
    ASSERT_EQ(bytes.size(), file->size());
    std::memcpy(bytes.data(), file->data(), file->size());
    const auto record = BlockRecord::parse(std::move(bytes), 0);
    ASSERT_TRUE(record) << record.error();
    EXPECT_TRUE(block.equals(**record, encrypted ? &key : nullptr));
    const BlockMeta& meta = (*record)->meta();
    EXPECT_EQ(meta.parent, test_key(40));
    EXPECT_EQ(meta.recipe, numbered_digest("test.recipe", 1));
    EXPECT_EQ(meta.tenant, 5u);
    EXPECT_EQ(meta.depth, 3u);
    EXPECT_EQ(meta.expires_s, 77);
    EXPECT_EQ(meta.parts, (std::vector<PartMeta>{{256, 1}, {100, 1}, {300, 0}}));
    if (!encrypted) {  // and writes the same today
      EXPECT_TRUE(std::ranges::equal(block.record()->bytes(), *file));
    }
  }
}

}  // namespace
}  // namespace cairn

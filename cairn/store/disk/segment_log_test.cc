// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/disk/segment_log.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>

#include "cairn/testing/faulty_io.h"
#include "cairn/testing/stored_blocks.h"

namespace cairn::disk {
namespace {

constexpr std::uint64_t kRecord = 8192;

class SegmentLogTest : public testing::Test {
 protected:
  SegmentLog log(bool writable = true) { return SegmentLog(folder_.path(), 3 * kRecord, writable, *io_); }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_.path()), {}));
  }
  // Appends and writes the block; where it lies.
  Place write(SegmentLog& log, std::uint64_t number, int error = 0) {
    const auto record = TestBlock{.number = number}.record();
    auto place = log.append(record->size());
    EXPECT_TRUE(place) << place.error().message;
    SegmentLog::Write write{.record = record.get(), .place = *place};
    EXPECT_EQ(SegmentLog::write(*io_, {&write, 1}, true), std::vector{error});
    return *place;
  }
  bool holds(std::uint64_t number, const Place& place) {
    const auto record = SegmentLog::read(*io_, test_key(number), place);
    return record != nullptr && TestBlock{.number = number}.equals(*record);
  }
  // What a scan of the whole folder finds, by number of the block.
  std::map<std::uint64_t, Place> scanned(SegmentLog& log) {
    std::map<std::uint64_t, Place> found;
    EXPECT_TRUE(log.scan(
        [&](const Place& place, const BlockMeta& meta) {
          for (std::uint64_t i = 0; i < 100; ++i) {
            if (test_key(i) == meta.key) found[i] = place;
          }
        },
        [](const ForeignRecord&) { ADD_FAILURE(); }));
    return found;
  }

  TestFolder folder_;
  std::shared_ptr<FaultyIo::Plan> plan_ = std::make_shared<FaultyIo::Plan>();
  std::unique_ptr<DiskIo> io_ = std::make_unique<FaultyIo>(plan_);
};

TEST_F(SegmentLogTest, AppendsBehindEachOtherAndBeginsNewFiles) {
  SegmentLog log = this->log();
  std::vector<Place> places;
  for (std::uint64_t i = 0; i < 7; ++i) places.push_back(write(log, i));
  EXPECT_EQ(files(), 3u);
  for (std::uint64_t i = 0; i < 7; ++i) {
    EXPECT_EQ(places[i].segment->id(), 1 + i / 3);
    EXPECT_EQ(places[i].offset, i % 3 * kRecord);
    EXPECT_TRUE(holds(i, places[i]));
    EXPECT_FALSE(holds(i + 1, places[i])) << "it is another block";
  }
  SegmentLog reader = this->log(false);
  EXPECT_EQ(scanned(reader).size(), 7u);
  EXPECT_TRUE(scanned(reader).empty()) << "what was seen is not looked at again";
  write(log, 7);
  EXPECT_EQ(scanned(reader).size(), 1u);
}

TEST_F(SegmentLogTest, ReleasedSpaceIsAHoleAndAFileWithoutALiveRecordGoes) {
  SegmentLog log = this->log();
  std::vector<Place> places;
  for (std::uint64_t i = 0; i < 4; ++i) places.push_back(write(log, i));
  log.release(places[1]);
  EXPECT_TRUE(places[1].segment->is_hole(places[1].offset));
  EXPECT_FALSE(holds(1, places[1]));
  EXPECT_TRUE(holds(0, places[0]) && holds(2, places[2]));
  log.release(places[0]);
  log.release(places[2]);
  EXPECT_EQ(files(), 1u);
  log.release(places[3]);
  EXPECT_EQ(files(), 1u) << "there may be more to append";
  log.close(*places[3].segment);
  EXPECT_EQ(files(), 0u);
  EXPECT_EQ(write(log, 9).segment->id(), 3u) << "numbers are not used again";
}

TEST_F(SegmentLogTest, WhatIsReadKeepsItsSpaceUntilTheLastReaderEnds) {
  SegmentLog log = this->log();
  const Place place = write(log, 1);
  write(log, 2);
  log.begin_read(place);
  log.begin_read(place);
  log.retire(place);
  log.release_retired();
  EXPECT_TRUE(holds(1, place));
  log.end_read(place.stamp());
  EXPECT_TRUE(holds(1, place));
  log.end_read(place.stamp());
  EXPECT_FALSE(holds(1, place));
}

TEST_F(SegmentLogTest, WithoutHolesSpaceIsDeadUntilItsFileGoes) {
  plan_->no_holes = true;
  SegmentLog log = this->log();
  std::vector<Place> places;
  for (std::uint64_t i = 0; i < 7; ++i) places.push_back(write(log, i));
  EXPECT_EQ(log.poorest(), nullptr);
  log.release(places[0]);
  log.release(places[3]);
  log.release(places[4]);
  EXPECT_FALSE(log.makes_holes());
  EXPECT_EQ(log.dead_bytes(), 3 * kRecord);
  EXPECT_EQ(log.poorest(), places[3].segment);
  log.drop(*places[3].segment);
  EXPECT_EQ(log.dead_bytes(), kRecord);
  EXPECT_EQ(files(), 2u);
}

TEST_F(SegmentLogTest, AFailedWriteIsNoRecord) {
  SegmentLog log = this->log();
  write(log, 0);
  plan_->error = ENOSPC;
  plan_->tear = true;
  const Place torn = write(log, 1, ENOSPC);
  plan_->error = 0;
  EXPECT_FALSE(holds(1, torn));
  log.release(torn);
  log.close(*torn.segment);
  EXPECT_NE(write(log, 2).segment, torn.segment) << "nothing is appended behind a failure";
  SegmentLog reader = this->log(false);
  const auto found = scanned(reader);
  EXPECT_EQ(found.size(), 2u);
  EXPECT_FALSE(found.contains(1));
}

TEST_F(SegmentLogTest, GapsAndEmptyFilesGoAfterAStart) {
  std::vector<Place> places;
  {
    SegmentLog log = this->log();
    for (std::uint64_t i = 0; i < 7; ++i) places.push_back(write(log, i));
  }
  SegmentLog log = this->log();
  ASSERT_NE(log.adopt(1, 2 * kRecord), nullptr);
  EXPECT_EQ(log.adopt(50, kRecord), nullptr);
  auto found = scanned(log);
  EXPECT_EQ(found.size(), 5u) << "the first two are the checkpoint's business";
  log.count_live(found.at(2));
  log.count_live(found.at(6));
  log.release_gaps({{1, {{2 * kRecord, kRecord}}}, {3, {{0, kRecord}}}});
  log.drop_empty();
  EXPECT_EQ(files(), 2u);
  EXPECT_TRUE(places[0].segment->is_hole(0));
  EXPECT_TRUE(holds(2, found.at(2)) && holds(6, found.at(6)));
  EXPECT_EQ(log.last()->id(), 3u);
  EXPECT_EQ(write(log, 9).segment->id(), 51u) << "no number is used that a checkpoint names";
}

}  // namespace
}  // namespace cairn::disk

// SPDX-License-Identifier: Apache-2.0
// Append-only files of records: append, read, give space back, drop whole files.
//
// A segment is a file of records, each at a multiple of 4096 bytes, that only grows. What is given back is punched out
// of it, and a segment without a live record goes as a whole. A record is stamped with its own place, which tells it
// from leftovers. The log knows places and bytes; which block lies where is the index's business (block_index.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/store/disk/disk_io.h"
#include "cairn/store/record/block_record.h"

namespace cairn::disk {

// Segment and page within it as one number: what records are stamped with.
constexpr std::uint64_t record_place(std::uint32_t segment, std::uint64_t offset) {
  return std::uint64_t{segment} << 32 | offset / kDirectIoPage;
}

// One file. Owns its descriptor. Immutable but for what the file holds.
class Segment {
 public:
  // kIo with the system's words.
  static Result<std::shared_ptr<Segment>> create(const std::string& folder, std::uint32_t id);
  static Result<std::shared_ptr<Segment>> open(const std::string& folder, std::uint32_t id, bool writable);
  // The number in a name such as "00000012.seg".
  static std::optional<std::uint32_t> id_of(const std::string& file_name);

  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  std::uint32_t id() const { return id_; }
  int fd() const { return fd_; }
  const std::string& path() const { return path_; }
  std::uint64_t file_bytes() const;  // 0 when the system does not say

  // Whether this byte was punched out, or lies beyond the end. The file system knows without reading.
  bool is_hole(std::uint64_t offset) const;

  struct Scanned {
    std::uint64_t end = 0;      // of the last record
    std::uint64_t certain = 0;  // up to there all is records and holes: nothing that may yet become a record
  };
  // Calls back for every record whose header holds, from byte `from` on, and for those of other format versions. Steps
  // over holes and damage. kIo.
  using Found = std::function<void(std::uint64_t offset, std::uint64_t bytes, const BlockMeta& meta)>;
  using FoundForeign = std::function<void(const ForeignRecord&)>;
  Result<Scanned> scan(std::uint64_t from, const Found& found, const FoundForeign& foreign) const;

 private:
  Segment(std::string path, std::uint32_t id, int fd) : path_(std::move(path)), id_(id), fd_(fd) {}

  const std::string path_;
  const std::uint32_t id_;
  const int fd_;
};

// Where a record lies. Holding it keeps the file open, not the space from being given back.
struct Place {
  std::shared_ptr<Segment> segment;
  std::uint64_t offset = 0, bytes = 0;

  std::uint64_t stamp() const { return record_place(segment->id(), offset); }
  bool same(const Place& other) const { return segment == other.segment && offset == other.offset; }
};

// Thread-compatible: the tier's mutex guards it. read() and write() touch no state and are called without the mutex.
class SegmentLog {
 public:
  // `folder` is that of the segments. Without `writable` nothing is appended, punched or dropped.
  SegmentLog(std::string folder, std::uint64_t segment_bytes, bool writable, DiskIo& io)
      : folder_(std::move(folder)), segment_bytes_(segment_bytes), writable_(writable), io_(io) {}

  // Space for a record at the end of the log, live from now on. kIo when no segment can be made.
  Result<Place> append(std::uint64_t bytes);
  // Nothing more is appended to this segment, as after a failed write. It goes if nothing in it is live.
  void close(const Segment& segment);

  struct Write {
    std::size_t index = 0;  // the caller's
    const BlockRecord* record = nullptr;
    Place place;
    RecordBytes header{};  // as stamped
  };
  // Payloads, then headers, which are the commit records, then one synchronisation for each file. Returns for each 0 or
  // an errno. Does not throw: the caller gives the places back. Thread-safe.
  static std::vector<int> write(DiskIo& io, std::span<Write> writes, bool sync);
  // Reads the whole record and verifies all of it. Null when the system refuses or it is not sound. Thread-safe.
  static std::shared_ptr<const BlockRecord> read(DiskIo& io, const Digest& key, const Place& place);

  // The record is of no use any more: its space goes back to the file system. Where no holes can be made it is dead
  // until its segment goes.
  void release(const Place& place);
  // The same once the last reader has ended.
  void retire(Place place);
  void begin_read(const Place& place);
  void end_read(std::uint64_t stamp);
  // Gives back what was retired and is not being read.
  void release_retired();

  std::uint64_t dead_bytes() const { return dead_bytes_; }
  bool makes_holes() const { return can_punch_; }
  // Of the segments with dead space the one with the least live bytes, not the one that is appended to.
  std::shared_ptr<Segment> poorest() const;
  // Unlinks a segment, whatever it holds.
  void drop(const Segment& segment);

  // For recovery (recovery.h), before anything is appended.

  // A segment that a checkpoint names: what lies before `end` needs no scan. Null when it is gone.
  std::shared_ptr<Segment> adopt(std::uint32_t id, std::uint64_t end);
  std::uint64_t end_of(const Segment& segment) const { return segments_.at(segment.id()).end; }
  // Looks at what is behind the known end of every segment in the folder, new segments included.
  Status scan(const std::function<void(const Place&, const BlockMeta&)>& found, const Segment::FoundForeign& foreign);
  // A record counts as live; it does not any more, and its space stays as it is.
  void count_live(const Place& place) { segments_.at(place.segment->id()).live += place.bytes; }
  void uncount_live(const Place& place) { segments_.at(place.segment->id()).live -= place.bytes; }
  // What lies between these records, by segment and offset, is of no use to anybody.
  using Records = std::map<std::uint32_t, std::map<std::uint64_t, std::uint64_t>>;  // bytes of each
  void release_gaps(Records records);
  void drop_empty();
  // The segment with the highest number; null when there is none.
  std::shared_ptr<Segment> last() const;

  // For checkpoints: records up to there are listed.
  std::map<std::uint32_t, std::uint64_t> ends() const;

 private:
  struct State {
    std::shared_ptr<Segment> segment;
    std::uint64_t end = 0;   // where the next record goes, or was last seen
    std::uint64_t live = 0;  // bytes of records in use
    std::uint64_t dead = 0;  // that could not be given back
  };
  using States = std::map<std::uint32_t, State>;
  void drop(States::iterator state);

  const std::string folder_;
  const std::uint64_t segment_bytes_;
  const bool writable_;
  DiskIo& io_;
  States segments_;
  std::uint32_t active_ = 0;  // 0: none
  std::uint32_t next_ = 1;    // no number is used twice
  std::uint64_t dead_bytes_ = 0;
  bool can_punch_ = true;
  std::multiset<std::uint64_t> reading_;  // stamps of reads in flight
  std::vector<Place> retired_;
};

}  // namespace cairn::disk

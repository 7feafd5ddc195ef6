// SPDX-License-Identifier: Apache-2.0
// An append-only file of records, each at a multiple of 4096 bytes. What is evicted is punched out of it; what a record
// says of its own place tells it from leftovers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cairn/base/result.h"
#include "cairn/store/disk/disk_io.h"
#include "cairn/store/record/block_record.h"

namespace cairn {

// Segment and page within it as one number: what records are stamped with.
constexpr std::uint64_t record_place(std::uint32_t segment, std::uint64_t offset) {
  return std::uint64_t{segment} << 32 | offset / kDirectIoPage;
}

// Owns a file descriptor. Not thread-safe beyond what the file is.
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
  bool direct() const { return direct_; }  // O_DIRECT is in force

  // Whether this byte was punched out, or lies beyond the end. The file system knows without reading.
  bool is_hole(std::uint64_t offset) const;

  struct Scanned {
    std::uint64_t end = 0;      // of the last record
    std::uint64_t certain = 0;  // up to there all is records and holes: nothing that may yet become a record
  };
  // Calls back for every record whose header holds, from byte `from` on, and for those of other format versions. Steps
  // over holes and damage.
  using Found = std::function<void(std::uint64_t offset, std::uint64_t bytes, const BlockMeta& meta)>;
  using FoundForeign = std::function<void(const ForeignRecord&)>;
  Result<Scanned> scan(std::uint64_t from, const Found& found, const FoundForeign& foreign) const;

 private:
  Segment(std::string path, std::uint32_t id, int fd, bool direct)
      : path_(std::move(path)), id_(id), fd_(fd), direct_(direct) {}

  const std::string path_;
  const std::uint32_t id_;
  const int fd_;
  const bool direct_;
};

}  // namespace cairn

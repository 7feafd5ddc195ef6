// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/disk/segment.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace cairn {
namespace {

constexpr std::size_t kScanBytes = std::size_t{1} << 20;

std::string segment_path(const std::string& folder, std::uint32_t id) {
  char name[32];
  std::snprintf(name, sizeof name, "/%08x.seg", id);
  return folder + name;
}

// Folders on which O_DIRECT is refused (tmpfs before Linux 6.6, some network file systems) are read through the cache.
int open_direct(const std::string& path, int flags, bool& direct) {
  int fd = ::open(path.c_str(), flags | O_DIRECT | O_CLOEXEC, 0600);
  direct = fd >= 0;
  if (fd < 0 && errno == EINVAL) fd = ::open(path.c_str(), (flags & ~O_EXCL) | O_CLOEXEC, 0600);
  return fd;
}

std::unexpected<Error> cannot(const char* what, const std::string& path) {
  return fail(ErrorCode::kIo, std::string("cannot ") + what + " '" + path + "': " + std::strerror(errno));
}

}  // namespace

std::optional<std::uint32_t> Segment::id_of(const std::string& file_name) {
  if (file_name.size() != 12 || !file_name.ends_with(".seg")) return std::nullopt;
  std::uint32_t id = 0;
  const auto [end, error] = std::from_chars(file_name.data(), file_name.data() + 8, id, 16);
  if (error != std::errc() || end != file_name.data() + 8 || id == 0 || id == UINT32_MAX) return std::nullopt;
  return id;
}

Result<std::shared_ptr<Segment>> Segment::create(const std::string& folder, std::uint32_t id) {
  const std::string path = segment_path(folder, id);
  bool direct = false;
  const int fd = open_direct(path, O_RDWR | O_CREAT | O_EXCL, direct);
  if (fd < 0) return cannot("create", path);
  // The file's own synchronisation says nothing of its name.
  if (const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); directory >= 0) {
    (void)fsync(directory);
    ::close(directory);
  }
  return std::shared_ptr<Segment>(new Segment(path, id, fd, direct));
}

Result<std::shared_ptr<Segment>> Segment::open(const std::string& folder, std::uint32_t id, bool writable) {
  const std::string path = segment_path(folder, id);
  bool direct = false;
  const int fd = open_direct(path, writable ? O_RDWR : O_RDONLY, direct);
  if (fd < 0) return cannot("open", path);
  return std::shared_ptr<Segment>(new Segment(path, id, fd, direct));
}

Segment::~Segment() {
  ::close(fd_);
}

bool Segment::is_hole(std::uint64_t offset) const {
  return lseek(fd_, static_cast<off_t>(offset), SEEK_DATA) != static_cast<off_t>(offset);
}

Result<Segment::Scanned> Segment::scan(std::uint64_t from, const Found& found, const FoundForeign& foreign) const {
  struct stat info {};
  if (fstat(fd_, &info) != 0) return cannot("look at", path_);
  const std::uint64_t end = static_cast<std::uint64_t>(info.st_size) / kDirectIoPage * kDirectIoPage;
  std::uint64_t at = from, last = from;
  std::optional<std::uint64_t> unknown;  // the first page that is not a record
  RecordBytes window(kScanBytes);
  std::uint64_t window_at = 0, window_bytes = 0;
  while (at < end) {
    const off_t data = lseek(fd_, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0) break;  // nothing but a hole
    if (static_cast<std::uint64_t>(data) > at) at = static_cast<std::uint64_t>(data) / kDirectIoPage * kDirectIoPage;
    if (at >= end) break;
    if (at < window_at || at + kDirectIoPage > window_at + window_bytes) {
      // A page at a time while records follow each other; more where something has to be searched.
      const std::uint64_t wish = at == last ? kDirectIoPage : kScanBytes;
      window_at = at;
      window_bytes = std::min(wish, end - at);
      IoOp op{.fd = fd_, .offset = at, .bytes = window.span().first(window_bytes)};
      run_plainly(op);
      if (op.error != 0) {
        if (!unknown) unknown = at;
        at += kDirectIoPage;
        window_bytes = 0;
        continue;
      }
    }
    const std::span<const std::byte> page =
        std::span<const std::byte>(window.span()).subspan(at - window_at, window_at + window_bytes - at);
    const auto length = BlockRecord::length_of(page);
    if (length && *length <= end - at) {
      const std::uint64_t place = record_place(id_, at);
      auto meta = BlockRecord::parse_header(page, place);
      std::optional<ForeignRecord> other = meta ? std::nullopt : foreign_record(page);
      if (!meta && !other) {  // the header may be longer than what was read
        RecordBytes whole(std::min<std::uint64_t>(*length, round_to_io_page(kMaxParts * 24 + kDirectIoPage)));
        IoOp op{.fd = fd_, .offset = at, .bytes = whole.span()};
        run_plainly(op);
        if (op.error == 0) meta = BlockRecord::parse_header(whole.span(), place);
        if (op.error == 0 && !meta) other = foreign_record(whole.span());
      }
      if (other && other->place != place) other.reset();
      if (meta) found(at, *length, *meta);
      if (other) foreign(*other);
      if (meta || other) {
        at += *length;
        last = at;
        continue;
      }
    }
    if (!unknown) unknown = at;
    at += kDirectIoPage;
  }
  return Scanned{.end = last, .certain = unknown.value_or(last)};
}

}  // namespace cairn

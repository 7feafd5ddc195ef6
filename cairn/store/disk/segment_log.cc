// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/disk/segment_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <new>
#include <utility>

#include "cairn/base/file.h"
#include "cairn/store/record/record_header.h"

namespace cairn::disk {
namespace {

constexpr std::size_t kScanBytes = std::size_t{1} << 20;

std::string segment_path(const std::string& folder, std::uint32_t id) {
  char name[32];
  std::snprintf(name, sizeof name, "/%08x.seg", id);
  return folder + name;
}

// Folders on which O_DIRECT is refused (tmpfs before Linux 6.6, some network file systems) are read through the cache.
int open_direct(const std::string& path, int flags) {
  int fd = ::open(path.c_str(), flags | O_DIRECT | O_CLOEXEC, 0600);
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
  const int fd = open_direct(path, O_RDWR | O_CREAT | O_EXCL);
  if (fd < 0) return cannot("create", path);
  // The file's own synchronisation says nothing of its name.
  if (const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); directory >= 0) {
    (void)fsync(directory);
    ::close(directory);
  }
  return std::shared_ptr<Segment>(new Segment(path, id, fd));
}

Result<std::shared_ptr<Segment>> Segment::open(const std::string& folder, std::uint32_t id, bool writable) {
  const std::string path = segment_path(folder, id);
  const int fd = open_direct(path, writable ? O_RDWR : O_RDONLY);
  if (fd < 0) return cannot("open", path);
  return std::shared_ptr<Segment>(new Segment(path, id, fd));
}

Segment::~Segment() {
  ::close(fd_);
}

std::uint64_t Segment::file_bytes() const {
  struct stat info {};
  return fstat(fd_, &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
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

void SegmentLog::drop(States::iterator state) {
  if (state->first == active_) active_ = 0;
  ::unlink(state->second.segment->path().c_str());
  dead_bytes_ -= state->second.dead;
  segments_.erase(state);
}

void SegmentLog::drop(const Segment& segment) {
  if (const auto state = segments_.find(segment.id()); state != segments_.end()) drop(state);
}

void SegmentLog::close(const Segment& segment) {
  if (active_ != segment.id()) return;
  active_ = 0;
  if (const auto state = segments_.find(segment.id()); state != segments_.end() && state->second.live == 0) drop(state);
}

Result<Place> SegmentLog::append(std::uint64_t bytes) {
  if (active_ != 0 && segments_.at(active_).end + bytes > segment_bytes_) close(*segments_.at(active_).segment);
  if (active_ == 0) {
    CAIRN_TRY(auto segment, Segment::create(folder_, next_));
    active_ = next_++;
    segments_[active_].segment = std::move(segment);
  }
  State& state = segments_.at(active_);
  Place place{.segment = state.segment, .offset = state.end, .bytes = bytes};
  state.end += bytes;
  state.live += bytes;
  return place;
}

std::vector<int> SegmentLog::write(DiskIo& io, std::span<Write> writes, bool sync) try {
  std::vector<IoOp> payloads, headers;
  for (Write& write : writes) {
    const BlockRecord& record = *write.record;
    const std::size_t header_bytes = record_header_bytes(record.meta().parts.size());
    write.header = RecordBytes(header_bytes);
    std::memcpy(write.header.data(), record.bytes().data(), header_bytes);
    stamp_place(write.header.span(), write.place.stamp());
    const int fd = write.place.segment->fd();
    auto* const payload =
        const_cast<std::byte*>(record.bytes().data()) + header_bytes;  // an IoOp that writes only reads
    payloads.push_back({.fd = fd,
                        .write = true,
                        .offset = write.place.offset + header_bytes,
                        .bytes = {payload, record.size() - header_bytes}});
    headers.push_back({.fd = fd, .write = true, .offset = write.place.offset, .bytes = write.header.span()});
  }
  io.run(payloads);
  for (std::size_t i = 0; i < headers.size(); ++i) {
    if (payloads[i].error != 0) headers[i].bytes = {};  // nothing to commit
  }
  io.run(headers);
  std::map<int, int> synced;  // errors by file
  std::vector<int> errors;
  for (std::size_t i = 0; i < writes.size(); ++i) {
    const int fd = writes[i].place.segment->fd();
    if (sync && !synced.contains(fd)) synced[fd] = io.sync(fd);
    int error = payloads[i].error != 0 ? payloads[i].error : headers[i].error;
    if (error == 0 && sync) error = synced[fd];
    errors.push_back(error);
  }
  return errors;
} catch (const std::bad_alloc&) {
  return std::vector(writes.size(), ENOMEM);
}

std::shared_ptr<const BlockRecord> SegmentLog::read(DiskIo& io, const Digest& key, const Place& place) {
  RecordBytes bytes(place.bytes);
  IoOp op{.fd = place.segment->fd(), .offset = place.offset, .bytes = bytes.span()};
  io.run({&op, 1});
  if (op.error != 0) return nullptr;
  auto record = BlockRecord::parse(std::move(bytes), place.stamp(), &key);
  return record && (*record)->intact() ? *std::move(record) : nullptr;
}

void SegmentLog::release(const Place& place) {
  const auto state = segments_.find(place.segment->id());
  if (state == segments_.end()) return;  // its segment went first
  state->second.live -= place.bytes;
  if (!writable_) return;
  if (state->second.live == 0 && state->first != active_) return drop(state);
  if (can_punch_ && io_.punch(place.segment->fd(), place.offset, place.bytes) == 0) return;
  can_punch_ = false;
  state->second.dead += place.bytes;
  dead_bytes_ += place.bytes;
}

void SegmentLog::retire(Place place) {
  retired_.push_back(std::move(place));
}

void SegmentLog::begin_read(const Place& place) {
  if (writable_) reading_.insert(place.stamp());
}

void SegmentLog::end_read(std::uint64_t stamp) {
  if (writable_) reading_.extract(stamp);
  release_retired();
}

void SegmentLog::release_retired() {
  std::erase_if(retired_, [&](const Place& place) {
    if (reading_.contains(place.stamp())) return false;
    release(place);
    return true;
  });
}

std::shared_ptr<Segment> SegmentLog::poorest() const {
  const State* poorest = nullptr;
  for (const auto& [id, state] : segments_) {
    if (id != active_ && state.dead > 0 && (poorest == nullptr || state.live < poorest->live)) poorest = &state;
  }
  return poorest == nullptr ? nullptr : poorest->segment;
}

std::shared_ptr<Segment> SegmentLog::adopt(std::uint32_t id, std::uint64_t end) {
  next_ = std::max(next_, id + 1);
  auto segment = Segment::open(folder_, id, writable_);
  if (!segment) return nullptr;  // emptied since
  const std::uint64_t size = (*segment)->file_bytes();
  segments_[id] = {.segment = *segment, .end = std::min(end, size / kDirectIoPage * kDirectIoPage)};
  return *segment;
}

Status SegmentLog::scan(const std::function<void(const Place&, const BlockMeta&)>& found,
                        const Segment::FoundForeign& foreign) {
  std::vector<std::uint32_t> ids;
  CAIRN_TRY(const std::vector<std::string> names, list_folder(folder_));
  for (const std::string& name : names) {
    if (const auto id = Segment::id_of(name)) ids.push_back(*id);
  }
  std::ranges::sort(ids);
  // Nothing is appended behind what a crash may have torn, and no number is used again while a checkpoint names it.
  if (!ids.empty() && writable_) next_ = std::max(next_, ids.back() + 1);
  for (const std::uint32_t id : ids) {
    auto known = segments_.find(id);
    if (known == segments_.end()) {
      auto segment = Segment::open(folder_, id, writable_);
      if (!segment) continue;  // gone since the listing
      known = segments_.emplace(id, State{.segment = *std::move(segment)}).first;
    }
    State& state = known->second;
    const auto found_record = [&](std::uint64_t offset, std::uint64_t bytes, const BlockMeta& meta) {
      found({.segment = state.segment, .offset = offset, .bytes = bytes}, meta);
    };
    CAIRN_TRY(const Segment::Scanned scanned, state.segment->scan(state.end, found_record, foreign));
    // A reader looks again at what the writer may just be writing.
    state.end = writable_ ? scanned.end : scanned.certain;
  }
  return {};
}

void SegmentLog::release_gaps(Records records) {
  for (auto& [id, state] : segments_) {
    const std::uint64_t size = state.segment->file_bytes();
    if (state.live == 0 || size == 0) continue;
    auto& known = records[id];
    known[size] = 0;
    std::uint64_t at = 0;
    for (const auto& [offset, bytes] : known) {
      if (offset > at && !(can_punch_ && io_.punch(state.segment->fd(), at, offset - at) == 0)) {
        state.dead += offset - at;
        dead_bytes_ += offset - at;
      }
      at = std::max(at, offset + bytes);
    }
  }
}

void SegmentLog::drop_empty() {
  for (auto state = segments_.begin(); state != segments_.end();) {
    const auto here = state++;
    if (here->second.live == 0) drop(here);
  }
}

std::shared_ptr<Segment> SegmentLog::last() const {
  return segments_.empty() ? nullptr : segments_.rbegin()->second.segment;
}

std::map<std::uint32_t, std::uint64_t> SegmentLog::ends() const {
  std::map<std::uint32_t, std::uint64_t> ends;
  for (const auto& [id, state] : segments_) ends[id] = state.end;
  return ends;
}

}  // namespace cairn::disk

// SPDX-License-Identifier: Apache-2.0
// Opening a disk tier: the folder, the lock, the checkpoint and the scan of what came after it.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <utility>

#include "cairn/base/file.h"
#include "cairn/store/disk/disk_tier.h"

namespace cairn {
namespace {

constexpr char kMarker[] = "/cairn-store";
constexpr std::string_view kMarkerText = "cairn store ";
constexpr int kFormat = 1;

std::unexpected<Error> cannot(const char* what, const std::string& path) {
  return fail(ErrorCode::kIo, std::string("cannot ") + what + " '" + path + "': " + std::strerror(errno));
}

// Of the folder itself, not of what is in it.
Status make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return fail(ErrorCode::kIo, "cannot make the folder '" + path + "': " + error.message());
  return {};
}

// What is not of a store, or of one that was begun.
bool has_foreign_entries(const std::string& folder) {
  constexpr std::string_view kOurs[] = {"segments", "recipes", "lock", "checkpoint", "gone", "lost+found"};
  const auto names = list_folder(folder);
  return names && std::ranges::any_of(*names, [&](const std::string& name) {
           return !name.starts_with("cairn-store") && std::ranges::find(kOurs, name) == std::end(kOurs);
         });
}

// What processes that were killed were writing beside its place. Only who holds the lock writes here, but for the
// marker, which is written before there is a lock.
void remove_unfinished(const std::string& folder) {
  const auto names = list_folder(folder);
  if (!names) return;
  for (const std::string& name : *names) {
    if (name.contains(".tmp-") && !name.starts_with(kMarker + 1)) ::unlink((folder + "/" + name).c_str());
  }
}

}  // namespace

Result<std::unique_ptr<DiskTier>> DiskTier::open(DiskTierOptions options) {
  std::unique_ptr<DiskTier> tier(new DiskTier(std::move(options)));
  tier->io_ = tier->options_.io != nullptr ? std::move(tier->options_.io) : make_disk_io();
  tier->note_ = tier->io_->name();
  CAIRN_TRY_VOID(tier->prepare_folder());
  CAIRN_TRY_VOID(tier->take_lock());
  ResidencyOptions residency = tier->options_.residency;
  if (!tier->writes()) residency.budget_bytes = UINT64_MAX / 2;  // what others have written is what there is
  CAIRN_TRY(tier->residency_, Residency::create(std::move(residency)));
  CAIRN_TRY_VOID(tier->recover());
  return tier;
}

Status DiskTier::prepare_folder() {
  const std::string& folder = options_.folder;
  const std::string marker = folder + kMarker;
  std::error_code ignored;
  if (!std::filesystem::exists(marker, ignored)) {
    if (std::filesystem::exists(folder, ignored) && !std::filesystem::is_directory(folder, ignored)) {
      return fail(ErrorCode::kInvalidArgument, "'" + folder + "' is not a folder");
    }
    if (has_foreign_entries(folder)) {
      return fail(ErrorCode::kInvalidArgument,
                  "'" + folder + "' is not empty and not a store: give an empty or a new folder");
    }
    if (options_.read_only) return fail(ErrorCode::kNotFound, "there is no store in '" + folder + "'");
    CAIRN_TRY_VOID(make_folder(folder));
    CAIRN_TRY_VOID(make_folder(folder + "/segments"));
    CAIRN_TRY_VOID(make_folder(folder + "/recipes"));
    // Last: a folder without it is no store yet.
    return write_file(marker, std::string(kMarkerText) + std::to_string(kFormat) + "\n");
  }
  CAIRN_TRY(const std::vector<std::byte> bytes, read_file(marker, 4096));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  int format = 0;
  const bool known =
      text.starts_with(kMarkerText) &&
      std::from_chars(text.data() + kMarkerText.size(), text.data() + text.size(), format).ec == std::errc();
  if (!known) return fail(ErrorCode::kCorrupt, "'" + marker + "' does not say which format the store has");
  if (format != kFormat) {
    return fail(ErrorCode::kUnsupported, "the store in '" + folder + "' has format " + std::to_string(format) +
                                             ", this build knows " + std::to_string(kFormat) +
                                             ": use a newer build or another folder");
  }
  return {};
}

Status DiskTier::take_lock() {
  if (options_.read_only) return {};
  const std::string path = options_.folder + "/lock";
  lock_fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd_ < 0 && (errno == EROFS || errno == EACCES)) {
    read_only_ = ReadOnly::kNotPermitted;
    return {};
  }
  if (lock_fd_ < 0) return cannot("open", path);
  if (flock(lock_fd_, LOCK_EX | LOCK_NB) == 0) {
    read_only_ = ReadOnly::kNo;
    remove_unfinished(options_.folder);
    remove_unfinished(options_.folder + "/recipes");
    return {};
  }
  const int error = errno;
  ::close(std::exchange(lock_fd_, -1));
  errno = error;
  if (error != EWOULDBLOCK) return cannot("lock", path);
  read_only_ = ReadOnly::kInUse;
  return {};
}

bool DiskTier::folder_is_gone() const {
  struct stat ours {
  }, there{};
  if (lock_fd_ < 0 || fstat(lock_fd_, &ours) != 0) return false;
  if (stat((options_.folder + "/lock").c_str(), &there) != 0) return errno == ENOENT || errno == ENOTDIR;
  return ours.st_dev != there.st_dev || ours.st_ino != there.st_ino;
}

Status DiskTier::recover() {
  const std::lock_guard lock(mutex_);
  gone_.load(options_.folder + "/gone");
  Result<Checkpoint> checkpoint = read_checkpoint(options_.folder + "/checkpoint");
  if (!checkpoint && checkpoint.error().code == ErrorCode::kCorrupt) {
    note_ += ", recovered by a scan since the checkpoint is damaged";
  }
  if (checkpoint) {
    for (const auto& [id, end] : checkpoint->segment_ends) {
      next_segment_ = std::max(next_segment_, id + 1);
      // Segments that are gone have been emptied since.
      if (auto segment = Segment::open(options_.folder + "/segments", id, writes())) {
        struct stat info {};
        const bool there = fstat((*segment)->fd(), &info) == 0;
        const auto size = there ? static_cast<std::uint64_t>(info.st_size) : 0;
        segments_[id] = {.segment = *segment, .end = std::min(end, size / kDirectIoPage * kDirectIoPage)};
      }
    }
    for (CheckpointBlock& block : checkpoint->blocks) {
      const auto state = segments_.find(block.segment);
      if (state == segments_.end() || block.bytes > state->second.end ||
          block.offset > state->second.end - block.bytes) {
        continue;
      }
      // Evicted after the checkpoint was written.
      if (state->second.segment->is_hole(block.offset)) continue;
      const Digest key = block.meta.key;
      index_found(state->second, block.offset, block.bytes, block.meta);
      if (block.pinned_until_s > unix_seconds()) residency_->pin(key, block.pinned_until_s);
    }
  }
  CAIRN_TRY_VOID(scan_segments());
  if (!writes()) return {};
  settle_doubles();
  drop_torn(checkpoint ? &*checkpoint : nullptr);
  for (const Digest& key : residency_->shrink()) forget(key, Gone::kEvicted);
  give_back_gaps();
  std::vector<std::uint32_t> empty;
  for (const auto& [id, state] : segments_) {
    if (state.live == 0) empty.push_back(id);
  }
  for (const std::uint32_t id : empty) {
    ::unlink(segments_.at(id).segment->path().c_str());
    segments_.erase(id);
  }
  return {};
}

// Requires: mutex_ is held.
bool DiskTier::sound(const Digest& key, const Place& place) {
  RecordBytes bytes(place.bytes);
  IoOp op{.fd = place.segment->fd(), .offset = place.offset, .bytes = bytes.span()};
  io_->run({&op, 1});
  if (op.error != 0) return false;
  const auto record = BlockRecord::parse(std::move(bytes), record_place(place.segment->id(), place.offset), &key);
  return record && (*record)->intact();
}

// A crash between writing a block's new record and giving back the old one leaves both. They say the same, but the
// former may be torn, or the latter be partly given back. Requires: mutex_ is held.
void DiskTier::settle_doubles() {
  for (Place& other : std::exchange(doubles_, {})) {
    const Digest key = other.meta.key;
    Place& known = index_.at(key);
    if (sound(key, known) || !sound(key, other)) continue;  // give_back_gaps() takes the other
    const std::int64_t pinned_until_s = residency_->pinned_until(key);
    segments_.at(known.segment->id()).live -= known.bytes;
    segments_.at(other.segment->id()).live += other.bytes;
    residency_->removed(key);
    (void)residency_->restore(other.meta, other.bytes);
    (void)residency_->pin(key, pinned_until_s);
    known = std::move(other);
  }
}

// Only the last batch can be torn, when the machine failed and not just the process, and only if no checkpoint has seen
// it. Requires: mutex_ is held.
void DiskTier::drop_torn(const Checkpoint* checkpoint) {
  if (segments_.empty()) return;
  constexpr std::size_t kSuspects = 16;
  const auto& [last, state] = *segments_.rbegin();
  std::uint64_t seen = 0;
  if (checkpoint != nullptr && checkpoint->segment_ends.contains(last)) seen = checkpoint->segment_ends.at(last);
  std::vector<std::pair<std::uint64_t, Digest>> records;
  for (const auto& [key, place] : index_) {
    if (place.segment->id() == last && place.offset >= seen) records.emplace_back(place.offset, key);
  }
  std::ranges::sort(records, std::greater());
  if (records.size() > kSuspects) records.resize(kSuspects);
  for (const auto& [offset, key] : records) {
    if (sound(key, index_.at(key))) continue;
    ++stats_.corrupt;
    forget(key, Gone::kDamaged);
    if (!segments_.contains(last)) return;  // that was its last block
  }
}

// Whatever lies between the blocks that are known is of no use to anybody. Requires: mutex_ is held.
void DiskTier::give_back_gaps() {
  std::map<std::uint32_t, std::map<std::uint64_t, std::uint64_t>> records;
  for (const auto& [key, place] : index_) records[place.segment->id()][place.offset] = place.bytes;
  for (auto& [id, state] : segments_) {
    struct stat info {};
    if (state.live == 0 || fstat(state.segment->fd(), &info) != 0) continue;
    auto& known = records[id];
    known[static_cast<std::uint64_t>(info.st_size)] = 0;
    std::uint64_t at = 0;
    for (const auto& [offset, bytes] : known) {
      if (offset > at && !(can_punch_ && io_->punch(state.segment->fd(), at, offset - at) == 0)) {
        state.dead += offset - at;
        dead_bytes_ += offset - at;
      }
      at = std::max(at, offset + bytes);
    }
  }
}

// Requires: mutex_ is held.
Status DiskTier::scan_segments() {
  const std::string folder = options_.folder + "/segments";
  std::vector<std::uint32_t> ids;
  CAIRN_TRY(const std::vector<std::string> names, list_folder(folder));
  for (const std::string& name : names) {
    if (const auto id = Segment::id_of(name)) ids.push_back(*id);
  }
  std::ranges::sort(ids);
  // Nothing is appended behind what a crash may have torn, and no number is used again while a checkpoint names it.
  if (!ids.empty() && writes()) next_segment_ = std::max(next_segment_, ids.back() + 1);
  for (const std::uint32_t id : ids) {
    auto found = segments_.find(id);
    if (found == segments_.end()) {
      auto segment = Segment::open(folder, id, writes());
      if (!segment) continue;  // gone since the listing
      found = segments_.emplace(id, SegmentState{.segment = *segment}).first;
    }
    SegmentState& state = found->second;
    const auto found_record = [&](std::uint64_t offset, std::uint64_t bytes, const BlockMeta& meta) {
      index_found(state, offset, bytes, meta);
    };
    // They are of no use to this build: the process that writes gives their space back.
    const auto found_foreign = [&](const ForeignRecord& record) { note_foreign(record.key, record.version); };
    CAIRN_TRY(const Segment::Scanned scanned, state.segment->scan(state.end, found_record, found_foreign));
    // A reader looks again at what the writer may just be writing.
    state.end = writes() ? scanned.end : scanned.certain;
  }
  return {};
}

// Requires: mutex_ is held.
void DiskTier::note_foreign(const Digest& key, std::uint32_t version) {
  ++stats_.foreign;
  stats_.foreign_version = version;
  gone_.note(key, Gone::kForeign);
}

// Requires: mutex_ is held.
void DiskTier::index_found(SegmentState& state, std::uint64_t offset, std::uint64_t bytes, const BlockMeta& meta) {
  Place place{.segment = state.segment, .offset = offset, .bytes = bytes, .meta = meta};
  place.meta.parts.clear();
  if (const auto known = index_.find(meta.key); known != index_.end()) {
    if (writes()) {
      doubles_.push_back(std::move(place));
      return;
    }
    // What the process that writes has written last; it gives the other one back.
    segments_.at(known->second.segment->id()).live -= known->second.bytes;
    residency_->removed(meta.key);
    index_.erase(known);
  }
  if (!residency_->restore(meta, bytes)) return;
  index_.emplace(meta.key, std::move(place));
  state.live += bytes;
}

// A reader looks at most once a second for what the writer has added. Requires: mutex_ is held.
void DiskTier::refresh() {
  if (writes() || !passed(next_refresh_)) return;
  next_refresh_ = deadline_in(std::chrono::seconds(1));
  if (const Status status = scan_segments(); !status) ++stats_.failures;
}

Status DiskTier::checkpoint_now() {
  Checkpoint checkpoint;
  std::vector<std::byte> gone;
  {
    const std::lock_guard lock(mutex_);
    since_checkpoint_ = 0;
    gone = gone_.bytes();
    for (const auto& [id, state] : segments_) checkpoint.segment_ends[id] = state.end;
    for (const auto& [key, place] : index_) {
      checkpoint.blocks.push_back({.meta = place.meta,
                                   .segment = place.segment->id(),
                                   .offset = place.offset,
                                   .bytes = place.bytes,
                                   .pinned_until_s = residency_->pinned_until(key)});
    }
  }
  CAIRN_TRY_VOID(write_file(options_.folder + "/gone", gone));
  // As they were made: so their order of age survives, also of those that were replaced.
  std::ranges::sort(checkpoint.blocks, {}, [](const CheckpointBlock& block) {
    return std::pair(block.meta.created_s, record_place(block.segment, block.offset));
  });
  return write_checkpoint(options_.folder + "/checkpoint", checkpoint);
}

}  // namespace cairn

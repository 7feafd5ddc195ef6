// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/disk/store_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "cairn/base/file.h"

namespace cairn::disk {
namespace {

constexpr char kMarker[] = "/cairn-store";
constexpr std::string_view kMarkerText = "cairn store ";
constexpr int kFormat = 1;
constexpr std::size_t kMaxRecipeBytes = 1 << 16;

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

Result<StoreFolder> StoreFolder::open(std::string path, bool read_only) {
  StoreFolder folder(std::move(path));
  CAIRN_TRY_VOID(folder.prepare(read_only));
  if (!read_only) CAIRN_TRY_VOID(folder.take_lock());
  return folder;
}

StoreFolder::~StoreFolder() {
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

Status StoreFolder::prepare(bool read_only) const {
  const std::string marker = path_ + kMarker;
  std::error_code ignored;
  if (!std::filesystem::exists(marker, ignored)) {
    if (std::filesystem::exists(path_, ignored) && !std::filesystem::is_directory(path_, ignored)) {
      return fail(ErrorCode::kInvalidArgument, "'" + path_ + "' is not a folder");
    }
    if (has_foreign_entries(path_)) {
      return fail(ErrorCode::kInvalidArgument,
                  "'" + path_ + "' is not empty and not a store: give an empty or a new folder");
    }
    if (read_only) return fail(ErrorCode::kNotFound, "there is no store in '" + path_ + "'");
    CAIRN_TRY_VOID(make_folder(path_));
    CAIRN_TRY_VOID(make_folder(segments()));
    CAIRN_TRY_VOID(make_folder(path_ + "/recipes"));
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
    return fail(ErrorCode::kUnsupported, "the store in '" + path_ + "' has format " + std::to_string(format) +
                                             ", this build knows " + std::to_string(kFormat) +
                                             ": use a newer build or another folder");
  }
  return {};
}

Status StoreFolder::take_lock() {
  const auto cannot = [](const char* what, const std::string& path) {
    return fail(ErrorCode::kIo, std::string("cannot ") + what + " '" + path + "': " + std::strerror(errno));
  };
  const std::string path = path_ + "/lock";
  lock_fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd_ < 0 && (errno == EROFS || errno == EACCES)) {
    read_only_ = ReadOnly::kNotPermitted;
    return {};
  }
  if (lock_fd_ < 0) return cannot("open", path);
  if (flock(lock_fd_, LOCK_EX | LOCK_NB) == 0) {
    read_only_ = ReadOnly::kNo;
    remove_unfinished(path_);
    remove_unfinished(path_ + "/recipes");
    return {};
  }
  const int error = errno;
  ::close(std::exchange(lock_fd_, -1));
  errno = error;
  if (error != EWOULDBLOCK) return cannot("lock", path);
  read_only_ = ReadOnly::kInUse;
  return {};
}

bool StoreFolder::moved() const {
  struct stat ours {
  }, there{};
  if (lock_fd_ < 0 || fstat(lock_fd_, &ours) != 0) return false;
  if (stat((path_ + "/lock").c_str(), &there) != 0) return errno == ENOENT || errno == ENOTDIR;
  return ours.st_dev != there.st_dev || ours.st_ino != there.st_ino;
}

bool StoreFolder::has_free(std::uint64_t bytes) const {
  struct statvfs info {};
  if (statvfs(path_.c_str(), &info) != 0) return true;  // writing will tell
  return info.f_bavail * info.f_frsize >= bytes;
}

void StoreFolder::describe_recipe(const Digest& recipe, const std::string& text) const {
  if (!writes()) return;
  const std::string path = path_ + "/recipes/" + recipe.hex();
  std::error_code error;
  if (!std::filesystem::exists(path, error)) (void)write_file(path, text);
}

std::map<Digest, std::string> StoreFolder::recipes() const {
  std::map<Digest, std::string> recipes;
  const std::string folder = path_ + "/recipes";
  const auto names = list_folder(folder);
  if (!names) return recipes;
  for (const std::string& name : *names) {
    const auto digest = parse_digest(name);
    const auto text = read_file(folder + "/" + name, kMaxRecipeBytes);
    if (digest && text) recipes[*digest] = std::string(reinterpret_cast<const char*>(text->data()), text->size());
  }
  return recipes;
}

}  // namespace cairn::disk

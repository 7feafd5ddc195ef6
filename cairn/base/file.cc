// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace cairn {
namespace {

namespace fs = std::filesystem;

std::string system_error(const std::string& path) {
  return "cannot write '" + path + "': " + std::strerror(errno);
}

bool write_all(int file, std::span<const std::byte> content) {
  while (!content.empty()) {
    const ssize_t written = ::write(file, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    content = content.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

std::unexpected<Error> cannot_read(const std::string& path, int reason) {
  const ErrorCode code = reason == ENOENT || reason == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo;
  return fail(code, "cannot read '" + path + "': " + std::strerror(reason));
}

Result<std::vector<std::byte>> read_open(int file, const std::string& path, std::size_t max_bytes) {
  struct stat info {};
  if (::fstat(file, &info) != 0) return cannot_read(path, errno);
  if (S_ISDIR(info.st_mode)) return cannot_read(path, EISDIR);
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::kIo, "'" + path + "' is no regular file");
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size > max_bytes) {
    return fail(ErrorCode::kCorrupt, "'" + path + "' has " + std::to_string(size) + " bytes, and no more than " +
                                         std::to_string(max_bytes) + " make sense");
  }
  std::vector<std::byte> bytes(size);
  for (std::size_t done = 0; done < size;) {
    const ssize_t got = ::read(file, bytes.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return cannot_read(path, errno);
    if (got == 0) return fail(ErrorCode::kIo, "'" + path + "' became shorter while it was read");
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

// The rename is durable when the folder is. Where that cannot be had, the file is there all the same.
void sync_folder_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;
  (void)::fsync(directory);
  ::close(directory);
}

}  // namespace

Result<std::vector<std::byte>> read_file(const std::string& path, std::size_t max_bytes) {
  // Non-blocking, so that a named pipe is refused instead of waiting for its writer.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return cannot_read(path, errno);
  Result<std::vector<std::byte>> bytes = read_open(file, path, max_bytes);
  ::close(file);
  return bytes;
}

Status write_file(const std::string& path, std::span<const std::byte> content) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    return fail(ErrorCode::kIo, "cannot write '" + path + "': it is no regular file");
  }
  std::string target = path;
  if (fs::exists(status) && fs::is_symlink(fs::symlink_status(path, error)))
    target = fs::canonical(path, error).string();
  std::string beside;
  int file = -1;
  for (int attempt = 0; file < 0 && attempt < 100; ++attempt) {  // a killed run of this number may have left one
    beside = target + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
    file = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0 && errno != EEXIST) break;
  }
  if (file < 0) return fail(ErrorCode::kIo, system_error(path));
  bool good = write_all(file, content) && ::fsync(file) == 0;
  const int reason = errno;
  good = ::close(file) == 0 && good;
  if (good && std::rename(beside.c_str(), target.c_str()) == 0) {
    sync_folder_of(target);
    return {};
  }
  if (!good) errno = reason;
  const std::string message = system_error(path);
  ::unlink(beside.c_str());
  return fail(ErrorCode::kIo, message);
}

Status write_file(const std::string& path, std::string_view content) {
  return write_file(path, std::as_bytes(std::span(content)));
}

Result<std::vector<std::string>> list_folder(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  // A range-for would throw where reading on fails.
  for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error == std::errc::no_such_file_or_directory)
    return fail(ErrorCode::kNotFound, "there is no folder '" + path + "'");
  if (error) return fail(ErrorCode::kIo, "cannot list '" + path + "': " + error.message());
  return names;
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/write_file.h"

#include <fcntl.h>
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

bool write_all(int file, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(file, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

Status write_file(const std::string& path, std::string_view content) {
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
  if (good && std::rename(beside.c_str(), target.c_str()) == 0) return {};
  if (!good) errno = reason;
  const std::string message = system_error(path);
  ::unlink(beside.c_str());
  return fail(ErrorCode::kIo, message);
}

}  // namespace cairn

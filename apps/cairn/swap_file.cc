// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/swap_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

namespace cairn {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20, kChunks = 64;

struct File {
  explicit File(int number) : descriptor(number) {}
  ~File() {
    if (descriptor >= 0) close(descriptor);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int descriptor;
};

bool write_and_read(int file, std::vector<char>& chunk) {
  for (std::size_t i = 0; i < kChunks; ++i) {
    std::memset(chunk.data(), static_cast<int>(i), chunk.size());
    if (write(file, chunk.data(), chunk.size()) != static_cast<ssize_t>(chunk.size())) return false;
  }
  // From the device, not from the copy that the system keeps in memory.
  if (fdatasync(file) != 0 || posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) != 0) return false;
  if (lseek(file, 0, SEEK_SET) != 0) return false;
  for (std::size_t i = 0; i < kChunks; ++i) {
    if (read(file, chunk.data(), chunk.size()) != static_cast<ssize_t>(chunk.size())) return false;
  }
  return true;
}

}  // namespace

Result<double> measure_swap_rate(const std::string& folder) {
  std::error_code ignored;
  const std::string place = folder.empty() ? std::filesystem::temp_directory_path(ignored).string() : folder;
  std::string path = place + "/cairn-swap-XXXXXX";
  const File file(mkstemp(path.data()));
  std::vector<char> chunk(kChunkBytes);
  const auto start = std::chrono::steady_clock::now();
  errno = 0;
  const bool done = file.descriptor >= 0 && unlink(path.c_str()) == 0 && write_and_read(file.descriptor, chunk);
  if (!done) {
    return fail(ErrorCode::kIo, "cannot measure swapping in '" + place +
                                    "': " + (errno != 0 ? std::strerror(errno) : "a short write or read") +
                                    "; name another folder with --swap-dir, or a rate with --swap-bandwidth");
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return 2.0 * kChunks * kChunkBytes / elapsed.count();
}

}  // namespace cairn

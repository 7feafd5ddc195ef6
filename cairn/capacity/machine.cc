// SPDX-License-Identifier: Apache-2.0
#include "cairn/capacity/machine.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "cairn/base/aligned_buffer.h"
#include "cairn/base/clock.h"
#include "cairn/base/thread_pool.h"

namespace cairn::capacity {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{512} << 20;
constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
constexpr int kPasses = 5;

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    if (const std::size_t colon = line.find(": "); colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

unsigned available_cores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<unsigned>(CPU_COUNT(&set)) : 1;
}

// Independent sums keep several loads in flight; the compiler makes vectors of them.
std::uint64_t sum_chunk(const std::byte* data) {
  std::uint64_t sums[32] = {};
  for (std::size_t i = 0; i < kChunkBytes; i += sizeof sums) {
    std::uint64_t values[32];
    std::memcpy(values, data + i, sizeof values);
    for (std::size_t lane = 0; lane < 32; ++lane) sums[lane] += values[lane];
  }
  std::uint64_t total = 0;
  for (const std::uint64_t sum : sums) total += sum;
  return total;
}

constexpr std::size_t kSwapChunks = 64;  // of kChunkBytes

struct Descriptor {
  explicit Descriptor(int number) : descriptor(number) {}
  ~Descriptor() {
    if (descriptor >= 0) close(descriptor);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int descriptor;
};

bool write_and_read(int file, std::vector<char>& chunk) {
  for (std::size_t i = 0; i < kSwapChunks; ++i) {
    std::memset(chunk.data(), static_cast<int>(i), chunk.size());
    if (write(file, chunk.data(), chunk.size()) != static_cast<ssize_t>(chunk.size())) return false;
  }
  // From the device, not from the copy that the system keeps in memory.
  if (fdatasync(file) != 0 || posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) != 0) return false;
  if (lseek(file, 0, SEEK_SET) != 0) return false;
  for (std::size_t i = 0; i < kSwapChunks; ++i) {
    if (read(file, chunk.data(), chunk.size()) != static_cast<ssize_t>(chunk.size())) return false;
  }
  return true;
}

}  // namespace

double available_memory() {
  std::ifstream info("/proc/meminfo");
  std::string key, unit;
  for (double kib = 0; info >> key >> kib; std::getline(info, unit)) {
    if (key == "MemAvailable:") return kib * 1024;
  }
  return 0;
}

Machine this_machine() {
  return {cpu_name(), available_cores()};
}

double measure_read_bandwidth(unsigned threads) {
  const MappedMemory buffer(kBufferBytes);
  if (buffer.data() == nullptr) return 0;
  ThreadPool pool(threads);
  const std::size_t chunks = kBufferBytes / kChunkBytes;
  pool.run(chunks,
           [&](std::size_t chunk, unsigned) { std::memset(buffer.data() + chunk * kChunkBytes, 1, kChunkBytes); });
  std::uint64_t sink = 0;
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    std::atomic<std::uint64_t> total{0};
    const auto start = std::chrono::steady_clock::now();
    pool.run(chunks, [&](std::size_t chunk, unsigned) {
      total.fetch_add(sum_chunk(buffer.data() + chunk * kChunkBytes), std::memory_order_relaxed);
    });
    best = std::max(best, static_cast<double>(kBufferBytes) / seconds_since(start));
    sink += total;
  }
  // Reading the sum keeps the loop from being optimised away.
  return sink == 0 ? 0 : best;
}

Result<double> measure_swap_rate(const std::string& folder) {
  std::error_code ignored;
  const std::string place = folder.empty() ? std::filesystem::temp_directory_path(ignored).string() : folder;
  std::string path = place + "/cairn-swap-XXXXXX";
  const Descriptor file(mkstemp(path.data()));
  std::vector<char> chunk(kChunkBytes);
  const auto start = std::chrono::steady_clock::now();
  errno = 0;
  const bool done = file.descriptor >= 0 && unlink(path.c_str()) == 0 && write_and_read(file.descriptor, chunk);
  if (!done) {
    return fail(ErrorCode::kIo, "cannot measure swapping in '" + place +
                                    "': " + (errno != 0 ? std::strerror(errno) : "a short write or read"));
  }
  return 2.0 * kSwapChunks * kChunkBytes / seconds_since(start);
}

}  // namespace cairn::capacity

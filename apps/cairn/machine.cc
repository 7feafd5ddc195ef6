// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/machine.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>

#include "cairn/base/aligned_buffer.h"
#include "cairn/base/thread_pool.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
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
  return {cpu_name(), available_cores(), kernels().name};
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
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    sink += total;
    best = std::max(best, static_cast<double>(kBufferBytes) / elapsed.count());
  }
  // Reading the sum keeps the loop from being optimised away.
  return sink == 0 ? 0 : best;
}

}  // namespace cairn

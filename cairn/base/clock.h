// SPDX-License-Identifier: Apache-2.0
// Deadlines and elapsed times on the monotonic clock: setting the system's clock changes nothing.
#pragma once

#include <chrono>
#include <cstdint>

namespace cairn {

// Until when a caller waits.
using Deadline = std::chrono::steady_clock::time_point;

inline Deadline deadline_in(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

inline bool passed(Deadline deadline) {
  return std::chrono::steady_clock::now() >= deadline;
}

inline double seconds_between(std::chrono::steady_clock::time_point start, std::chrono::steady_clock::time_point end) {
  return std::chrono::duration<double>(end - start).count();
}

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return seconds_between(start, std::chrono::steady_clock::now());
}

inline std::uint64_t nanoseconds_since(std::chrono::steady_clock::time_point start) {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count());
}

}  // namespace cairn

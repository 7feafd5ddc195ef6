// SPDX-License-Identifier: Apache-2.0
// Until when a caller waits. A monotonic clock: setting the system's clock changes nothing.
#pragma once

#include <chrono>

namespace cairn {

using Deadline = std::chrono::steady_clock::time_point;

inline Deadline deadline_in(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

inline bool passed(Deadline deadline) {
  return std::chrono::steady_clock::now() >= deadline;
}

}  // namespace cairn

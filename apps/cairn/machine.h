// SPDX-License-Identifier: Apache-2.0
// What a measurement must be read together with: the processor, and how fast it reads memory.
#pragma once

#include <string>
#include <string_view>

namespace cairn {

struct Machine {
  std::string cpu;       // model name as the system tells it
  unsigned cores;        // available to this process
  std::string_view isa;  // kernels in use
};

Machine this_machine();

// Bytes that programs may still take without swapping, as the system estimates it; 0 when it does not say.
double available_memory();

// Bytes per second that `threads` threads reach together when each only sums its share of a buffer far larger than the
// caches; the best of a few passes. 0 when the memory for it cannot be had.
double measure_read_bandwidth(unsigned threads);

}  // namespace cairn

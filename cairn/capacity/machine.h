// SPDX-License-Identifier: Apache-2.0
// This machine in numbers: the processor, its memory, and how fast it reads memory and moves an inactive cache to a
// file and back. Functions without state, which may be called from any thread; but measurements take the machine, so
// two at a time measure each other.
#pragma once

#include <string>

#include "cairn/base/result.h"

namespace cairn::capacity {

struct Machine {
  std::string cpu;     // model name as the system tells it
  unsigned cores = 1;  // available to this process
};

Machine this_machine();

// Bytes that programs may still take without swapping, as the system estimates it; 0 when it does not say.
double available_memory();

// Bytes per second that `threads` threads reach together when each only sums its share of a buffer far larger than the
// caches; the best of a few passes. 0 when the memory for it cannot be had.
double measure_read_bandwidth(unsigned threads);

// Bytes per second of writing a temporary file of 64 MiB to the device and reading it back, the mean over both ways.
// `folder` empty: the system's folder for temporary files. The file is gone afterwards.
// Errors: kIo, naming the folder.
Result<double> measure_swap_rate(const std::string& folder);

}  // namespace cairn::capacity

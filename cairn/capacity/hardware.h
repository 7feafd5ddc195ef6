// SPDX-License-Identifier: Apache-2.0
// What serving is bounded by: memory size, arithmetic, memory bandwidth, and the link that caches are swapped over.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cairn/base/result.h"

namespace cairn {

// One device. Rates are peaks as vendors state them, or measurements; immutable value.
struct Hardware {
  std::string name;
  double memory_bytes = 0;
  double flops = 0;               // dense products per second, times two, in the weights' type
  double bandwidth = 0;           // bytes per second of device memory
  double swap_bytes_per_s = 0;    // of the link to where inactive caches wait
};

// "a100-80g", "h100", "h200".
std::span<const Hardware> hardware_presets();

// kInvalidArgument with the list of known names when there is no such preset.
Result<Hardware> find_hardware(std::string_view name);

}  // namespace cairn

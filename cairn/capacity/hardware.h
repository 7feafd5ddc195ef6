// SPDX-License-Identifier: Apache-2.0
// What serving is bounded by: memory size, arithmetic, memory bandwidth, and the link that caches are swapped over.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "cairn/base/result.h"

namespace cairn {

enum class Resource : std::uint8_t { kMemorySize, kFlops, kBandwidth, kSwapLink };
inline constexpr std::array kResources = {Resource::kMemorySize, Resource::kFlops, Resource::kBandwidth,
                                          Resource::kSwapLink};
std::string_view resource_name(Resource resource);  // "memory size", "flops", "memory bandwidth", "swap link"

// One device. Rates are peaks as vendors state them, or measurements; immutable value.
struct Hardware {
  std::string name;
  double memory_bytes = 0;
  double flops = 0;                  // operations per second in the weights' type; a multiply-add is two
  double bandwidth_bytes_per_s = 0;  // of device memory
  double swap_bytes_per_s = 0;       // of the link to where inactive caches wait, in each direction
  double attention_flops = 0;        // operations per second of attention in a prefill; 0: as flops
};

// The same device with twice of one resource.
Hardware doubled(Hardware hardware, Resource resource);

// "a100-80g", "h100", "h200".
std::span<const Hardware> hardware_presets();

// kInvalidArgument with the list of known names when there is no such preset.
Result<Hardware> find_hardware(std::string_view name);

}  // namespace cairn

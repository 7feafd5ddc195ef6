// SPDX-License-Identifier: Apache-2.0
#include "cairn/capacity/hardware.h"

#include <algorithm>

namespace cairn {
namespace {

constexpr double kMib = 1024.0 * 1024;
constexpr double kGib = 1024 * kMib;

}  // namespace

std::string_view resource_name(Resource resource) {
  switch (resource) {
    case Resource::kMemorySize: return "memory size";
    case Resource::kFlops: return "flops";
    case Resource::kBandwidth: return "memory bandwidth";
    case Resource::kSwapLink: return "swap link";
  }
  return "?";
}

Hardware doubled(Hardware hardware, Resource resource) {
  switch (resource) {
    case Resource::kMemorySize: hardware.memory_bytes *= 2; break;
    case Resource::kFlops:
      hardware.flops *= 2;
      hardware.attention_flops *= 2;
      break;
    case Resource::kBandwidth: hardware.bandwidth_bytes_per_s *= 2; break;
    case Resource::kSwapLink: hardware.swap_bytes_per_s *= 2; break;
  }
  return hardware;
}

// Memory as the driver reports it, SXM cards, dense bf16 rates. PCIe as it is reached in practice: 20 GiB/s of
// generation 4, twice that of generation 5.
std::span<const Hardware> hardware_presets() {
  static const Hardware presets[] = {{"a100-80g", 81920 * kMib, 312e12, 2.039e12, 20 * kGib},
                                     {"h100", 81559 * kMib, 989e12, 3.35e12, 40 * kGib},
                                     {"h200", 143771 * kMib, 989e12, 4.8e12, 40 * kGib}};
  return presets;
}

Result<Hardware> find_hardware(std::string_view name) {
  const auto presets = hardware_presets();
  const auto found = std::ranges::find(presets, name, &Hardware::name);
  if (found != presets.end()) return *found;
  std::string known;
  for (const Hardware& preset : presets) known += (known.empty() ? "" : ", ") + preset.name;
  return fail(ErrorCode::kInvalidArgument, "unknown hardware '" + std::string(name) + "'; choose one of: " + known);
}

}  // namespace cairn

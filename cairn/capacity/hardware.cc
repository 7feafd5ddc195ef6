// SPDX-License-Identifier: Apache-2.0
#include "cairn/capacity/hardware.h"

#include <algorithm>

namespace cairn {

// Dense bf16 rates; PCIe as it is reached in practice, about 20 GB/s of generation 4 and twice that of generation 5.
std::span<const Hardware> hardware_presets() {
  static const Hardware presets[] = {{"a100-80g", 80e9, 312e12, 2.0e12, 20e9},
                                     {"h100", 80e9, 989e12, 3.35e12, 40e9},
                                     {"h200", 141e9, 989e12, 4.8e12, 40e9}};
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

// SPDX-License-Identifier: Apache-2.0
#include "cairn/capacity/served_model.h"

#include <algorithm>

namespace cairn {
namespace {

ServedModel bf16_model(std::string name, double params, std::uint32_t layers, std::uint32_t heads,
                       std::uint32_t kv_heads, std::uint32_t head_dim) {
  return {std::move(name), params, 2 * params, layers, heads, kv_heads, head_dim};
}

}  // namespace

std::span<const ServedModel> model_presets() {
  static const ServedModel presets[] = {
      bf16_model("yi-34b", 34e9, 60, 56, 8, 128), bf16_model("llama-3.1-8b", 8.03e9, 32, 32, 8, 128),
      bf16_model("llama-3.1-70b", 70.6e9, 80, 64, 8, 128), bf16_model("qwen2.5-7b", 7.62e9, 28, 28, 4, 128)};
  return presets;
}

Result<ServedModel> find_model(std::string_view name) {
  const auto presets = model_presets();
  const auto found = std::ranges::find(presets, name, &ServedModel::name);
  if (found != presets.end()) return *found;
  std::string known;
  for (const ServedModel& preset : presets) known += (known.empty() ? "" : ", ") + preset.name;
  return fail(ErrorCode::kInvalidArgument,
              "unknown model '" + std::string(name) + "'; choose one of: " + known + ", or a GGUF file");
}

}  // namespace cairn

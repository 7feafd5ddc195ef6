// SPDX-License-Identifier: Apache-2.0
// The few numbers of a transformer that the cost of serving it depends on.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "cairn/base/result.h"

namespace cairn {

// Immutable value.
struct ServedModel {
  std::string name;
  double params = 0;        // that every token is multiplied with
  double weight_bytes = 0;  // in memory, and read by every step
  std::uint32_t layers = 0;
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;
  // Operations per query, visible key and channel of all heads. 2 is how the paper counts (docs/capacity.md); scores
  // and weighted values together are 4.
  double attention_ops = 2;

  double attention_width() const { return static_cast<double>(heads) * head_dim; }
};

// bf16: "yi-34b", "llama-3.1-8b", "llama-3.1-70b", "qwen2.5-7b".
std::span<const ServedModel> model_presets();

// kInvalidArgument with the list of known names when there is no such preset.
Result<ServedModel> find_model(std::string_view name);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/block/layer_spec.h"

namespace cairn {

std::vector<LayerSpec> like_layers(std::uint32_t count, PageShape shape, const RopeSpec& rope) {
  std::vector<LayerSpec> layers;
  for (std::uint32_t l = 0; l < count; ++l) layers.push_back({.shape = shape, .rope = rope, .kv_map = l, .weights = l});
  return layers;
}

Status check_layers(std::span<const LayerSpec> layers) {
  if (layers.empty()) return fail(ErrorCode::kInvalidArgument, "a KV cache needs at least one layer");
  for (std::uint32_t l = 0; l < layers.size(); ++l) {
    const LayerSpec& layer = layers[l];
    if (layer.shape.kv_heads == 0 || layer.shape.head_dim == 0) {
      return fail(ErrorCode::kInvalidArgument,
                  "layer " + std::to_string(l) + " of a KV cache needs at least one KV head and one channel");
    }
    if (layer.shape.values_in_keys > layer.shape.head_dim || layer.shape.values_in_keys % 8 != 0) {
      return fail(ErrorCode::kInvalidArgument, "layer " + std::to_string(l) + ": values cannot be the first " +
                                                   std::to_string(layer.shape.values_in_keys) +
                                                   " channels of keys of " + std::to_string(layer.shape.head_dim) +
                                                   "; a multiple of 8 up to that can be");
    }
    if (layer.kv_map == l) continue;
    if (layer.kv_map > l || layers[layer.kv_map].kv_map != layer.kv_map || layers[layer.kv_map].shape != layer.shape) {
      return fail(
          ErrorCode::kInvalidArgument,
          "layer " + std::to_string(l) + " cannot read the keys and values of layer " + std::to_string(layer.kv_map));
    }
  }
  return {};
}

std::string unlike_layers(std::span<const LayerSpec> layers) {
  std::string text;
  for (std::uint32_t l = 0; l < layers.size(); ++l) {
    const LayerSpec& layer = layers[l];
    std::string differs;
    if (layer.shape != layers[0].shape) {
      differs += " shape=" + std::to_string(layer.shape.kv_heads) + "x" + std::to_string(layer.shape.head_dim);
    }
    if (!layer.shape.has_value_pages()) differs += " values=" + std::to_string(layer.shape.values_in_keys);
    if (layer.window != 0) differs += " window=" + std::to_string(layer.window);
    if (layer.kv_map != l) differs += " kv=" + std::to_string(layer.kv_map);
    if (layer.weights != l) differs += " weights=" + std::to_string(layer.weights);
    if (layer.rope != layers[0].rope) differs += " rope(" + canonical_rope(layer.rope) + ")";
    if (!differs.empty()) text += (text.empty() ? "" : "; ") + std::to_string(l) + differs;
  }
  return text;
}

}  // namespace cairn

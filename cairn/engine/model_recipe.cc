// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/model_recipe.h"

#include <utility>

namespace cairn {

std::vector<LayerSpec> model_layers(const ModelConfig& config) {
  std::vector<LayerSpec> layers;
  for (const ModelLayer& layer : config.each_layer) layers.push_back(layer.cache);
  return layers;
}

Recipe model_recipe(const ModelConfig& config, const Digest& weights, const Digest& tokenizer, std::string codec_plan,
                    std::string arithmetic) {
  const std::vector<LayerSpec> layers = model_layers(config);
  return {.weights = weights,
          .adapters = {},
          .rope = canonical_rope(layers.front().rope),
          .tokenizer = tokenizer,
          .layers = static_cast<std::uint32_t>(layers.size()),
          .shape = layers.front().shape,
          .unlike_layers = unlike_layers(layers),
          .codec_plan = std::move(codec_plan),
          .retention = "all",
          .arithmetic = std::move(arithmetic)};
}

}  // namespace cairn

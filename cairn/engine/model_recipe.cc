// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/model_recipe.h"

#include <cstdio>
#include <utility>

namespace cairn {
namespace {

std::string exact(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%a", value);
  return text;
}

}  // namespace

std::string canonical_rope(const RopeSpec& rope) {
  std::string text = rope.pairing == RopePairing::kNeighbours ? "neighbours" : "halves";
  text += " dims=" + std::to_string(rope.dims) + " base=" + exact(rope.base);
  text += " scaling=" + std::to_string(static_cast<int>(rope.scaling)) + " factor=" + exact(rope.factor);
  text += " original=" + std::to_string(rope.original_context) + " attn=" + exact(rope.attn_factor);
  text += " ext=" + exact(rope.ext_factor) + " beta=" + exact(rope.beta_fast) + "," + exact(rope.beta_slow);
  for (const float factor : rope.freq_factors) text += " " + exact(factor);
  return text;
}

Recipe model_recipe(const ModelConfig& config, const Digest& weights, const Digest& tokenizer, std::string codec_plan,
                    std::string arithmetic) {
  return {.weights = weights,
          .adapters = {},
          .rope = canonical_rope(config.rope),
          .tokenizer = tokenizer,
          .layers = config.layers,
          .shape = {config.kv_heads, config.head_dim},
          .codec_plan = std::move(codec_plan),
          .retention = "all",
          .arithmetic = std::move(arithmetic)};
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// The recipe of the blocks that a model computes: what decides their bytes, as block identity wants it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cairn/block/block_key.h"
#include "cairn/block/layer_spec.h"
#include "cairn/engine/model_config.h"

namespace cairn {

// What each of the model's layers is to a KV cache.
std::vector<LayerSpec> model_layers(const ModelConfig& config);

// `codec_plan` as CodecPlan::canonical() writes it.
Recipe model_recipe(const ModelConfig& config, const Digest& weights, const Digest& tokenizer, std::string codec_plan,
                    std::string arithmetic);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// The recipe of the blocks that a model computes: what decides their bytes, as block identity wants it.
#pragma once

#include <cstdint>
#include <string>

#include "cairn/block/recipe.h"
#include "cairn/engine/model_config.h"

namespace cairn {

// One text for one specification, numbers in hexadecimal floating point so that none is rounded.
std::string canonical_rope(const RopeSpec& rope);

// `codec_plan` as CodecPlan::canonical() writes it.
Recipe model_recipe(const ModelConfig& config, const Digest& weights, const Digest& tokenizer, std::string codec_plan,
                    std::string arithmetic);

}  // namespace cairn

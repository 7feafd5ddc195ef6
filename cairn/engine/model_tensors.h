// SPDX-License-Identifier: Apache-2.0
// The tensors that a model of some shape consists of.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/engine/model_config.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

// "blk.7.attn_q.weight"
std::string layer_tensor(std::uint32_t layer, std::string_view what);

// "blk.7.ffn_norm.weight", or what that norm is called in this model.
std::string ffn_norm_tensor(const ModelConfig& config, std::uint32_t layer);

// One tensor that must be there. Matrices are [cols, rows] in any WeightFormat, y = W x; vectors are [cols] with rows
// 1, or [cols, rows] with one for each expert, in F32, F16 or BF16.
struct TensorNeed {
  std::string name;
  std::uint64_t cols = 0;
  std::uint64_t rows = 0;
  bool vector = false;
  std::uint64_t experts = 0;  // how many experts (or heads) have a matrix here, one after the other; 0: one matrix
};

// All tensors of one layer (no keys and values where it reads those of another one), or those outside the layers
// (the factors of RoPE aside, which belong to the RopeSpec).
std::vector<TensorNeed> layer_needs(const ModelConfig& config, std::uint32_t layer);
std::vector<TensorNeed> outer_needs(const ModelConfig& config);

// Errors: kNotFound (missing), kCorrupt (shape), kUnsupported (type, or a tensor that no need names: running without
// it would give wrong answers).
Status check_model_tensors(const GgufFile& file, const ModelConfig& config);

}  // namespace cairn

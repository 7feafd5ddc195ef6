// SPDX-License-Identifier: Apache-2.0
// The table of a set, by the names that every set gives its functions. Include it after all of them.
#pragma once

#include <string_view>

#include "cairn/kernels/kernels.h"
#include "cairn/kernels/turn-inl.h"

namespace cairn {
namespace {

template <class Dot, class Lanes>
constexpr Kernels kernel_table(std::string_view name) {
  return {
      .name = name,
      .quantise_tile = quantise_tile,
      .matmul = matmul_panels<Dot>,
      .multiply_dense = multiply_dense<Lanes>,
      .scores = {scores<F16>, scores<BF16>, scores<F32>},
      .accumulate = {accumulate<F16>, accumulate<BF16>, accumulate<F32>},
      .softmax_block = softmax_block,
      .box_tops = box_tops,
      .sketch_tops = sketch_tops,
      .merge = merge_states,
      .code_scores = code_scores,
      .code_accumulate = code_accumulate,
      .column_range = column_range,
      .quantise_columns = quantise_columns,
      .column_error = column_error,
      .quantise_levels = quantise_levels,
      .level_error = level_error,
      .nearest_points = nearest_points,
      .nearest_codes = nearest_codes,
      .transpose = transpose,
      .pack_codes = pack_codes,
      .hadamard = hadamard,
      .turn_rows = turn_rows<Lanes>,
      .read_symbols = read_symbols,
      .narrow = {narrow<F16>, narrow<BF16>, narrow<F32>},
      .widen_f16 = widen_f16,
      .rms_norm = rms_norm,
      .silu_mul = silu_mul,
      .gelu_mul = gelu_mul,
      .clamped_silu_mul = clamped_silu_mul,
      .soft_cap = soft_cap,
      .softmax = softmax,
      .add = add,
      .rope_neighbours = rope_neighbours,
      .rope_halves = rope_halves,
  };
}

}  // namespace
}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/kernels/avx2/codes-inl.h"
#include "cairn/kernels/avx2/dot-inl.h"
#include "cairn/kernels/avx2/pages-inl.h"
#include "cairn/kernels/encode-inl.h"
#include "cairn/kernels/kernels.h"
#include "cairn/kernels/plain_loops-inl.h"

namespace cairn {

const Kernels kAvx2Kernels = {
    .name = "avx2",
    .quantise_tile = quantise_tile,
    .matmul = matmul_panels<MaddDot>,
    .scores = {scores<F16>, scores<BF16>, scores<F32>},
    .accumulate = {accumulate<F16>, accumulate<BF16>, accumulate<F32>},
    .softmax_block = softmax_block,
    .merge = merge_states,
    .code_scores = code_scores,
    .code_accumulate = code_accumulate,
    .column_range = column_range,
    .quantise_columns = quantise_columns,
    .column_error = column_error,
    .quantise_levels = quantise_levels,
    .level_error = level_error,
    .nearest_points = nearest_points,
    .transpose = transpose,
    .pack_codes = pack_codes,
    .hadamard = hadamard,
    .narrow = {narrow<F16>, narrow<BF16>, narrow<F32>},
    .widen_f16 = widen_f16,
    .rms_norm = rms_norm,
    .silu_mul = silu_mul,
    .gelu_mul = gelu_mul,
    .soft_cap = soft_cap,
    .softmax = softmax,
    .add = add,
    .rope_neighbours = rope_neighbours,
    .rope_halves = rope_halves,
};

}  // namespace cairn

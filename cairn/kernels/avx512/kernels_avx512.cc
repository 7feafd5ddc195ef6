// SPDX-License-Identifier: Apache-2.0
#include "cairn/kernels/avx512/code_accumulate-inl.h"
#include "cairn/kernels/avx512/code_scores-inl.h"
#include "cairn/kernels/avx512/dot-inl.h"
#include "cairn/kernels/avx512/nearest-inl.h"
#include "cairn/kernels/avx512/pages-inl.h"
#include "cairn/kernels/encode-inl.h"
#include "cairn/kernels/kernels.h"

namespace cairn {

const Kernels kAvx512Kernels = {
    .name = "avx512",
    .quantise_tile = quantise_tile,
    .matmul = matmul_panels<VnniDot>,
    .scores = {scores<F16>, scores<BF16>, scores<F32>},
    .accumulate = {accumulate<F16>, accumulate<BF16>, accumulate<F32>},
    .softmax_block = softmax_block16,
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

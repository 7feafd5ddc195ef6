// SPDX-License-Identifier: Apache-2.0
// The kernels of one instruction set. The scalar set (ref/) is the definition; every other set returns the same bits,
// because each fixes one order of operations: lanes are output rows, tokens or channels, never partial sums, and every
// fused multiply-add is written out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "cairn/kernels/args.h"
#include "cairn/kernels/codes.h"
#include "cairn/kernels/sketches.h"

namespace cairn {

// Element types of raw pages.
enum class Element : std::uint8_t { kF16 = 0, kBF16 = 1, kF32 = 2 };
inline constexpr std::size_t kElements = 3;

// Raw pages of one KV head; see codec.h for layouts and meanings. `elements` keys are [head_dim, 64], values
// [64, head_dim]. head_dim is a multiple of 8. Tokens outside of `boxes` are not read: their scores stay what they
// were, and their weights count for nothing.
using ScoresFn = void (*)(const void* keys, std::uint32_t head_dim, const float* q, std::uint32_t rows,
                          std::uint8_t boxes, PrefetchHint next, float* scores);
using AccumulateFn = void (*)(const void* values, std::uint32_t head_dim, const float* p, const float* correction,
                              std::uint32_t rows, std::uint32_t count, std::uint8_t boxes, PrefetchHint next,
                              float* acc);

// Immutable, lives for ever. All functions are pure, allocate nothing and may run concurrently on distinct outputs.
struct Kernels {
  std::string_view name;

  // Rounds the rows of one tile of x [out.rows, x_stride] (out.cols values each, a multiple of kGroupValues) to bytes.
  // Not-a-number becomes -127.
  void (*quantise_tile)(const float* x, std::size_t x_stride, ActivationTiles out, std::uint32_t tile);
  void (*matmul)(const MatmulArgs& args);         // quantised weights
  void (*multiply_dense)(const DenseArgs& args);  // F32, F16, BF16

  ScoresFn scores[kElements];
  AccumulateFn accumulate[kElements];
  // Turns scores [rows, 64] into weights exp(s - new max) in place; token t of row r counts when bit t of masks[r] is
  // set. Updates state.max and state.sum and gives the factor that earlier accumulators must be scaled by.
  void (*softmax_block)(float* scores, const std::uint64_t* masks, std::uint32_t rows, float* max, float* sum,
                        float* correction);
  // tops[r, b] = the greatest of scores [rows, 64] in box b of row r, of tokens whose bit of `mask` is set; -infinity
  // where there is none. Not-a-number counts as -infinity.
  void (*box_tops)(const float* scores, std::uint64_t mask, std::uint32_t rows, float* tops);
  // tops[r, b] = the greatest score of row r with a key of box b of the sheet: [rows, kSketchBoxes].
  void (*sketch_tops)(const SketchSheet& sheet, const SketchQuery* queries, std::uint32_t rows, PrefetchHint next,
                      float* tops);
  // state a = merge(a, b), both over head_dim channels.
  void (*merge)(SoftmaxState a, SoftmaxState b, std::uint32_t rows, std::uint32_t head_dim);

  // out[r, t] = sum over d of q[r, d] * K[t, d] for `rows` query rows [rows, depth] and the lanes of `keys` in its
  // boxes; out has a stride of 64. Each row is folded with the channel scales and rounded to signed bytes, one scale
  // per kQuerySegment.
  void (*code_scores)(const CodeKeys& keys, const float* q, std::uint32_t rows, PrefetchHint next, float* out);
  // acc[r, d] = acc[r, d] * correction[r] + sum over t < depth of p[r, t] * V[t, d]; p is not negative, zero outside of
  // the boxes of `values`, and has a stride of 64; acc is [rows, lanes]. Each row is folded with the token scales and
  // rounded to 15 bits, one scale per group.
  void (*code_accumulate)(const CodeValues& values, const float* p, const float* correction, std::uint32_t rows,
                          PrefetchHint next, float* acc);

  // The steps of an encoder over x [rows, cols], a result per column.
  void (*column_range)(const float* x, std::uint32_t rows, std::uint32_t cols, float* low, float* high);
  // codes[r, c] = (x - offset[c]) * inverse[c], rounded to nearest even and held within [0, max_code].
  void (*quantise_columns)(const float* x, std::uint32_t rows, std::uint32_t cols, const float* offset,
                           const float* inverse, std::uint32_t max_code, std::uint8_t* codes);
  // error[c] = sum over r of the squared distance of x[r, c] from offset[c] + scale[c] * its code, as above.
  void (*column_error)(const float* x, std::uint32_t rows, std::uint32_t cols, const float* offset,
                       const float* inverse, const float* scale, std::uint32_t max_code, float* error);
  // The step from values to 16 levels for each row: codes[r, c] = how many of the 15 ascending bounds[r, k] lie below
  // inverse[c] * x[r, c].
  void (*quantise_levels)(const float* x, std::uint32_t rows, std::uint32_t cols, const float* bounds,
                          const float* inverse, std::uint8_t* codes);
  // error[c] = sum over r of the squared distance of x[r, c] from scale[c] * levels[r, its code], as above; levels is
  // [rows, 16].
  void (*level_error)(const float* x, std::uint32_t rows, std::uint32_t cols, const float* bounds, const float* levels,
                      const float* inverse, const float* scale, float* error);
  // nearest[c]: the first of `count` (at most 256) points [count, 2] with the least squared distance from
  // (x[c], y[c]), which is distance[c]. Columns of which some coordinate is not a number get 0 and infinity.
  void (*nearest_points)(const float* x, const float* y, std::uint32_t cols, const float* points, std::uint32_t count,
                         std::uint8_t* nearest, float* distance);
  // Of kPageTokens tokens, a channel in each of `width` (1, 2, 4 or 8) rows x_stride apart: nearest[t] is the first of
  // 16 points [16, width] with the least squared distance, which distance[t] grows by, as energy[t] does by the point's
  // squared length. A token with something that is not a number gets 0 and infinity.
  void (*nearest_codes)(const float* x, std::size_t x_stride, std::uint32_t width, const float* points,
                        std::uint8_t* nearest, float* distance, float* energy);
  void (*transpose)(const float* x, std::uint32_t rows, std::uint32_t cols, float* out);
  // The packed form of CodeMatrix, from one byte per code: value (depth i, lane j) lies at i * depth_stride +
  // j * lane_stride, one of which is 1. Writes code_bytes(), zeros in the padding.
  void (*pack_codes)(const std::uint8_t* codes, std::size_t depth_stride, std::size_t lane_stride, std::uint32_t lanes,
                     std::uint32_t depth, std::uint32_t bits, std::uint8_t* out);
  // Walsh-Hadamard transform in place, scaled to keep lengths and so its own inverse, of each run of w values, w the
  // largest power of two that divides width.
  void (*hadamard)(float* x, std::uint32_t width);

  // out[r, i] = sum over d < depth of x[r, d] * matrix[d, i], d in order, for `rows` rows of x that are x_stride apart;
  // matrix is [depth, dim], out [rows, dim]. Requires: dim is a multiple of 16; out is not x.
  void (*turn_rows)(const float* x, std::size_t x_stride, std::uint32_t rows, std::uint32_t depth, std::uint32_t dim,
                    const float* matrix, float* out);

  // The next `count` symbols, a multiple of kRansStates, under a table of 1 << kRansBits slots: symbol << 24 |
  // (frequency - 1) << 12 | place among those of the symbol. False when words are missing; then what was read is wrong.
  bool (*read_symbols)(const std::uint32_t* slots, std::uint32_t count, RansWords& words, std::uint8_t* symbols);

  // f32 to element type: round to nearest even, saturate, NaN to zero.
  void (*narrow[kElements])(const float* x, std::size_t count, void* out);

  void (*widen_f16)(const std::uint16_t* x, std::size_t count, float* out);

  // y = x / sqrt(mean(x^2) + eps) * weight.
  void (*rms_norm)(const float* x, const float* weight, float eps, std::size_t count, float* y);
  // gate = silu(gate) * up.
  void (*silu_mul)(float* gate, const float* up, std::size_t count);
  // gate = gelu(gate) * up, by the tanh form: gelu(x) = x / (1 + exp(-2 sqrt(2 / pi) (x + 0.044715 x^3))).
  void (*gelu_mul)(float* gate, const float* up, std::size_t count);
  // gate = g / (1 + exp(-1.702 g)) * (u + 1) with g = min(gate, 7) and u = up held between -7 and 7: gpt-oss's form of
  // SwiGLU ("gpt-oss-120b & gpt-oss-20b Model Card", OpenAI 2025).
  void (*clamped_silu_mul)(float* gate, const float* up, std::size_t count);
  // x = cap * tanh(x / cap), within 1e-7 of the cap.
  void (*soft_cap)(float* x, std::size_t count, float cap);
  // x = exp(x - max) / sum of these. Requires: count > 0.
  void (*softmax)(float* x, std::size_t count);
  void (*add)(float* x, const float* y, std::size_t count);
  // Rotates pairs (i, i + 1) or (i, i + pairs) of the first 2 * pairs values.
  void (*rope_neighbours)(float* x, const float* cos, const float* sin, std::size_t pairs);
  void (*rope_halves)(float* x, const float* cos, const float* sin, std::size_t pairs);
};

// The sets that this build has and this processor can run, slowest (scalar) first.
std::span<const Kernels* const> available_kernels();

// nullptr when there is no such set here. Names: "scalar", "avx2", "avx512".
const Kernels* find_kernels(std::string_view name);

// The set in use: the fastest available, or the one that the environment variable CAIRN_ISA names. Decided once; an
// unusable name falls back to the fastest set here and is reported by forced_isa_error().
const Kernels& kernels();

// Empty, or one line saying why CAIRN_ISA could not be followed.
std::string_view forced_isa_error();

// The sets of this build, one per folder, also those that this processor lacks; for dispatch.cc.
extern const Kernels kScalarKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;

}  // namespace cairn

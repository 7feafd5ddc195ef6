// SPDX-License-Identifier: Apache-2.0
// Rows times a matrix, shared by every instruction set; `Lanes` is that of dense-inl.h. Included once per set,
// hence the unnamed namespace.
//
// The definition, for one output: sum = fma(matrix[d, i], x[d], sum) from 0, over d in ascending order.
#pragma once

#include "cairn/kernels/dense-inl.h"

namespace cairn {
namespace {

// T rows and P runs of 16 outputs. Not inlined: the sums would not all stay in registers.
template <class Lanes, std::uint32_t T, std::uint32_t P>
[[gnu::noinline]] void turn_some(const float* x, std::size_t x_stride, std::uint32_t depth, std::uint32_t dim,
                                 const float* matrix, float* out) {
  constexpr float kZeros[kPanelRows] = {};
  typename Lanes::Type sum[P][T];
#pragma GCC unroll 8
  for (std::uint32_t p = 0; p < P; ++p) {
#pragma GCC unroll 4
    for (std::uint32_t t = 0; t < T; ++t) sum[p][t] = Lanes::load(kZeros);
  }
  for (std::uint32_t d = 0; d < depth; ++d, matrix += dim) {
    typename Lanes::Type weights[P];
#pragma GCC unroll 8
    for (std::uint32_t p = 0; p < P; ++p) weights[p] = Lanes::load(matrix + p * kPanelRows);
#pragma GCC unroll 4
    for (std::uint32_t t = 0; t < T; ++t) {
      const auto value = Lanes::spread(x[t * x_stride + d]);
#pragma GCC unroll 8
      for (std::uint32_t p = 0; p < P; ++p) sum[p][t] = Lanes::fused(weights[p], value, sum[p][t]);
    }
  }
#pragma GCC unroll 8
  for (std::uint32_t p = 0; p < P; ++p) {
#pragma GCC unroll 4
    for (std::uint32_t t = 0; t < T; ++t) Lanes::store(sum[p][t], out + std::size_t{t} * dim + p * kPanelRows);
  }
}

template <class Lanes, std::uint32_t T>
void turn_few(const float* x, std::size_t x_stride, std::uint32_t depth, std::uint32_t dim, const float* matrix,
              float* out) {
  constexpr std::uint32_t kWide = Lanes::kFewPanels * kPanelRows;
  std::uint32_t i = 0;
  for (; i + kWide <= dim; i += kWide) {
    turn_some<Lanes, T, Lanes::kFewPanels>(x, x_stride, depth, dim, matrix + i, out + i);
  }
  for (; i < dim; i += kPanelRows) turn_some<Lanes, T, 1>(x, x_stride, depth, dim, matrix + i, out + i);
}

template <class Lanes>
void turn_rows(const float* x, std::size_t x_stride, std::uint32_t rows, std::uint32_t depth, std::uint32_t dim,
               const float* matrix, float* out) {
  std::uint32_t r = 0;
  for (; r + Lanes::kFewRows <= rows; r += Lanes::kFewRows)
    turn_few<Lanes, Lanes::kFewRows>(x + r * x_stride, x_stride, depth, dim, matrix, out + std::size_t{r} * dim);
  for (; r < rows; ++r) turn_few<Lanes, 1>(x + r * x_stride, x_stride, depth, dim, matrix, out + std::size_t{r} * dim);
}

}  // namespace
}  // namespace cairn

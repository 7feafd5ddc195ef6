// SPDX-License-Identifier: Apache-2.0
// Products with F32, F16 and BF16 weights by oneDNN. The only file that knows the library: Debian 12 has version 2.6,
// newer systems ship 3 with another API.
//
// Each tile of 64 weight rows is one single-threaded product of its own, so the bits cannot depend on the number of
// threads; whether they depend on the number of activation rows is tested once per process on the processor at hand,
// and where they do every product runs with the same padded number of rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "cairn/base/result.h"
#include "cairn/kernels/weight_format.h"

namespace cairn {

// Weight rows of a tile, and the most activation rows of one product.
inline constexpr std::uint32_t kDenseTileRows = 64;

// A matrix [rows, cols], y = W x. F32 and BF16 are repacked at the same size; 16-bit weights that the library has no
// products for (F16 everywhere, BF16 on older processors) stay as they are and are widened tile by tile to F32, which
// is exact.
class DenseMatrix {
 public:
  // `data` is row-major in the file's format; see keeps_view(). Errors: kInternal when the library refuses,
  // kUnsupported for other formats.
  static Result<DenseMatrix> create(WeightFormat format, std::uint32_t rows, std::uint32_t cols,
                                    std::span<const std::byte> data);
  DenseMatrix(DenseMatrix&&) noexcept;
  DenseMatrix& operator=(DenseMatrix&&) noexcept;
  ~DenseMatrix();

  // What the bits of products depend on besides their inputs: the library's version and the instructions it chose.
  static std::string arithmetic();

  bool keeps_view() const;  // whether the data given to create() must stay where it is
  bool takes_bf16() const;  // what multiply_tile's input is made of: bf16, or f32

  // The padded number of rows that inputs must have room for.
  static std::uint32_t padded_rows(std::uint32_t rows);

  // Builds the library's code for inputs of this many rows. Before every multiply_tile with a new number of rows; not
  // thread-safe.
  Status prepare(std::uint32_t rows);

  // out[r, n] for the weight rows n of one tile. `input` is [padded_rows(rows), cols], finite beyond `rows`. `scratch`
  // is this thread's, scratch_floats() long. Thread-safe for distinct tiles. False when the library failed, which it
  // does only for want of memory.
  [[nodiscard]] bool multiply_tile(std::uint32_t tile, const void* input, std::uint32_t rows, float* out,
                                   std::size_t out_stride, float* scratch) const;
  std::size_t scratch_floats() const;

 private:
  struct Impl;
  explicit DenseMatrix(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn

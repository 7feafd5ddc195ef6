// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/dense_onednn.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <dnnl.hpp>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "cairn/base/aligned_buffer.h"
#include "cairn/base/check.h"
#include "cairn/base/half.h"
#include "cairn/base/single_openmp_thread.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace {

using dnnl::memory;

dnnl::engine& cpu() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// One per thread, as the library asks.
dnnl::stream& stream() {
  thread_local dnnl::stream own(cpu());
  return own;
}

// Every call below runs under SingleOpenMpThread: the library plans a product for as many threads as there are when it
// is made, and asks for that many whenever it runs, so the guard must hold at both times.
void reorder(memory& from, memory& to) {
  const SingleOpenMpThread alone;
  dnnl::reorder(from, to).execute(stream(), from, to);
  stream().wait();
}

memory::desc rows_by_cols(memory::dim rows, memory::dim cols, memory::data_type type) {
  return {{rows, cols}, type, memory::format_tag::ab};
}

struct Shape {
  memory::dim rows, cols, outputs;
  bool bf16, packed;
  auto operator<=>(const Shape&) const = default;
};

struct Product {
  dnnl::matmul::primitive_desc description;
  dnnl::matmul primitive;
};

Product make_product(const Shape& shape) {
  const SingleOpenMpThread alone;
  const auto type = shape.bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  const memory::desc weights({shape.cols, shape.outputs}, type,
                             shape.packed ? memory::format_tag::any : memory::format_tag::ba);
  // The library's own scratch memory belongs to the thread that created a primitive.
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::matmul::primitive_desc description(
      dnnl::matmul::desc(rows_by_cols(shape.rows, shape.cols, type), weights,
                         rows_by_cols(shape.rows, shape.outputs, memory::data_type::f32)),
      attributes, cpu());
  return {description, dnnl::matmul(description)};
}

void execute(const Product& product, const memory& weights, const void* input, float* out) {
  const SingleOpenMpThread alone;
  // The library takes inputs through non-const handles but does not write to them.
  memory source(product.description.src_desc(), cpu(), const_cast<void*>(input));
  memory target(product.description.dst_desc(), cpu(), out);
  thread_local Scratch<std::byte> work;
  const memory::desc wanted = product.description.scratchpad_desc();
  memory scratchpad(wanted, cpu(), work.ensure(wanted.get_size()));
  product.primitive.execute(
      stream(),
      {{DNNL_ARG_SRC, source}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, target}, {DNNL_ARG_SCRATCHPAD, scratchpad}});
  stream().wait();
}

// Whether one row multiplied alone gives the bits that it gives among 64, for one kind of product. Long rows may be cut
// where short ones are not.
bool rows_independent(bool bf16, bool packed, memory::dim cols) {
  constexpr memory::dim kOutputs = kDenseTileRows;
  std::vector<float> values(static_cast<std::size_t>(kDenseTileRows * cols));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>((i * 2654435761u) % 2039) / 1019.0f - 1;
  const auto type = bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  const auto as_type = [&](const memory::desc& wanted, memory::format_tag tag, memory::dim first, memory::dim second) {
    memory from({{first, second}, memory::data_type::f32, tag}, cpu(), values.data());
    memory to(wanted, cpu());
    reorder(from, to);
    return to;
  };
  const Product many = make_product({kDenseTileRows, cols, kOutputs, bf16, packed});
  const memory weights = as_type(many.description.weights_desc(), memory::format_tag::ba, cols, kOutputs);
  const memory input = as_type(rows_by_cols(kDenseTileRows, cols, type), memory::format_tag::ab, kDenseTileRows, cols);
  std::vector<float> expected(kDenseTileRows * kOutputs), got(expected.size());
  execute(many, weights, input.get_data_handle(), expected.data());
  for (memory::dim rows = 1; rows < kDenseTileRows; rows *= 2) {
    const Product few = make_product({rows, cols, kOutputs, bf16, packed});
    if (few.description.weights_desc() != many.description.weights_desc()) return false;
    execute(few, weights, input.get_data_handle(), got.data());
    if (std::memcmp(got.data(), expected.data(), static_cast<std::size_t>(rows * kOutputs) * sizeof(float)) != 0) {
      return false;
    }
  }
  return true;
}

// Older processors have no bf16 products.
bool has_bf16() {
  static const bool supported = [] {
    try {
      make_product({1, 64, kDenseTileRows, true, true});
      return true;
    } catch (const dnnl::error&) {
      return false;
    }
  }();
  return supported;
}

bool any_number_of_rows() {
  static const bool independent = [] {
    try {
      return std::ranges::all_of(std::array<memory::dim, 2>{320, 5632}, [](memory::dim cols) {
        return rows_independent(false, false, cols) && rows_independent(false, true, cols) &&
               (!has_bf16() || rows_independent(true, true, cols));
      });
    } catch (const dnnl::error&) {
      return false;
    }
  }();
  return independent;
}

void widen(WeightFormat format, const std::uint16_t* from, std::size_t count, float* to) {
  if (format == WeightFormat::kF16) return kernels().widen_f16(from, count, to);
  for (std::size_t i = 0; i < count; ++i) to[i] = bf16_to_f32(from[i]);
}

}  // namespace

struct DenseMatrix::Impl {
  WeightFormat format;
  std::uint32_t rows, cols;
  std::vector<memory> tiles;          // when packed
  const std::byte* halves = nullptr;  // else: 16-bit weights as the file has them
  std::map<Shape, Product> products;

  bool bf16() const { return format == WeightFormat::kBF16 && has_bf16(); }
  bool packed() const { return format == WeightFormat::kF32 || bf16(); }
  std::uint32_t tile_rows(std::uint32_t tile) const { return std::min(kDenseTileRows, rows - tile * kDenseTileRows); }
  Shape shape(std::uint32_t input_rows, std::uint32_t outputs) const {
    return {input_rows, cols, outputs, bf16(), packed()};
  }

  const Product& product(std::uint32_t input_rows, std::uint32_t outputs) {
    const Shape wanted = shape(input_rows, outputs);
    const auto found = products.find(wanted);
    return found != products.end() ? found->second : products.emplace(wanted, make_product(wanted)).first->second;
  }

  void pack(std::span<const std::byte> data) {
    const auto type = bf16() ? memory::data_type::bf16 : memory::data_type::f32;
    const std::size_t row_bytes = std::size_t{cols} * (bf16() ? 2 : 4);
    for (std::uint32_t tile = 0; tile * kDenseTileRows < rows; ++tile) {
      const Product& reference = product(kDenseTileRows, tile_rows(tile));
      memory from({{cols, tile_rows(tile)}, type, memory::format_tag::ba}, cpu(),
                  const_cast<std::byte*>(data.data() + tile * kDenseTileRows * row_bytes));
      memory& to = tiles.emplace_back(reference.description.weights_desc(), cpu());
      reorder(from, to);
    }
  }
};

DenseMatrix::DenseMatrix(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DenseMatrix::DenseMatrix(DenseMatrix&&) noexcept = default;
DenseMatrix& DenseMatrix::operator=(DenseMatrix&&) noexcept = default;
DenseMatrix::~DenseMatrix() = default;

Result<DenseMatrix> DenseMatrix::create(WeightFormat format, std::uint32_t rows, std::uint32_t cols,
                                        std::span<const std::byte> data) {
  auto impl = std::make_unique<Impl>();
  impl->format = format;
  impl->rows = rows;
  impl->cols = cols;
  if (format != WeightFormat::kF32 && format != WeightFormat::kF16 && format != WeightFormat::kBF16) {
    return fail(ErrorCode::kUnsupported, "dense products take F32, F16 and BF16 weights");
  }
  if (!impl->packed()) {
    impl->halves = data.data();
  } else {
    try {
      impl->pack(data);
    } catch (const dnnl::error& error) {
      return fail(ErrorCode::kInternal, std::string("oneDNN cannot take these weights: ") + error.what());
    }
  }
  return DenseMatrix(std::move(impl));
}

std::string DenseMatrix::arithmetic() {
  const dnnl_version_t* version = dnnl::version();
  return "onednn-" + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
         std::to_string(version->patch) + "-isa" + std::to_string(static_cast<int>(dnnl::get_effective_cpu_isa())) +
         (any_number_of_rows() ? "" : "-padded");
}

bool DenseMatrix::keeps_view() const {
  return !impl_->packed();
}
bool DenseMatrix::takes_bf16() const {
  return impl_->bf16();
}

std::uint32_t DenseMatrix::padded_rows(std::uint32_t rows) {
  const std::uint32_t whole = rows / kDenseTileRows * kDenseTileRows, rest = rows - whole;
  if (rest == 0) return rows;
  if (!any_number_of_rows()) return whole + kDenseTileRows;
  std::uint32_t padded = 1;
  while (padded < rest) padded *= 2;  // few sizes, so little code is generated
  return whole + padded;
}

Status DenseMatrix::prepare(std::uint32_t rows) {
  const std::uint32_t padded = padded_rows(rows);
  try {
    for (const std::uint32_t part : {std::min(padded, kDenseTileRows), padded % kDenseTileRows}) {
      if (part == 0) continue;
      impl_->product(part, std::min(kDenseTileRows, impl_->rows));
      if (impl_->rows % kDenseTileRows != 0) impl_->product(part, impl_->rows % kDenseTileRows);
    }
  } catch (const dnnl::error& error) {
    return fail(ErrorCode::kInternal, std::string("oneDNN cannot build a product: ") + error.what());
  }
  return {};
}

std::size_t DenseMatrix::scratch_floats() const {
  return std::size_t{kDenseTileRows} * kDenseTileRows +
         (impl_->packed() ? 0 : std::size_t{kDenseTileRows} * impl_->cols);
}

bool DenseMatrix::multiply_tile(std::uint32_t tile, const void* input, std::uint32_t rows, float* out,
                                std::size_t out_stride, float* scratch) const try {
  const std::uint32_t outputs = impl_->tile_rows(tile), first = tile * kDenseTileRows;
  float* result = scratch;  // [64, outputs]
  memory widened;
  if (!impl_->packed()) {
    float* weights = scratch + kDenseTileRows * kDenseTileRows;
    const auto* halves = reinterpret_cast<const std::uint16_t*>(impl_->halves) + std::size_t{first} * impl_->cols;
    widen(impl_->format, halves, std::size_t{outputs} * impl_->cols, weights);
    widened = memory({{impl_->cols, outputs}, memory::data_type::f32, memory::format_tag::ba}, cpu(), weights);
  }
  const std::size_t input_row_bytes = std::size_t{impl_->cols} * (impl_->bf16() ? 2 : 4);
  const std::uint32_t padded = padded_rows(rows);
  for (std::uint32_t row = 0; row < padded; row += kDenseTileRows) {
    const std::uint32_t part = std::min(kDenseTileRows, padded - row);
    const auto product = impl_->products.find(impl_->shape(part, outputs));
    CAIRN_CHECK(product != impl_->products.end());
    execute(product->second, impl_->packed() ? impl_->tiles[tile] : widened,
            static_cast<const std::byte*>(input) + row * input_row_bytes, result);
    for (std::uint32_t r = 0; r < std::min(part, rows - row); ++r) {
      std::memcpy(out + (row + r) * out_stride + first, result + std::size_t{r} * outputs, outputs * sizeof(float));
    }
  }
  return true;
} catch (const std::exception&) {  // the library's errors, and std::bad_alloc
  return false;
}

}  // namespace cairn

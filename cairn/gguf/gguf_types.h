// SPDX-License-Identifier: Apache-2.0
// What a GGUF file says about itself: metadata values and tensor descriptions, as views of the file's bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/kernels/weight_format.h"

namespace cairn {

// Numbers of the file format.
enum class GgufType : std::uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

std::string_view gguf_type_name(GgufType type);  // "u32", "string", ..., "?" for numbers outside the enum
// Bytes of one value; 0 for strings, arrays and numbers outside the enum.
std::size_t gguf_type_size(GgufType type);

// One metadata entry. `bytes` is its payload as it lies in the file, checked by the parser: a string without its
// length, an array without its head, `count` elements of type `element`. Immutable view, valid as long as the file's
// bytes.
struct GgufValue {
  std::string_view key;
  GgufType type = GgufType::kUint8;
  GgufType element = GgufType::kUint8;  // of arrays; equal to `type` otherwise
  std::uint64_t count = 1;              // elements of an array; 1 otherwise
  std::span<const std::byte> bytes;

  std::string type_name() const;  // "u32", "array of string"
  // The value as T, for the types of GgufFile::get; nothing where it is of another kind or does not fit.
  template <class T>
  std::optional<T> as() const;
  // One printable line of bounded length: the value, or the first few elements.
  std::string preview() const;
};

// A tensor as the file describes it. The type may be one that this build cannot compute with; inspect lists it anyway.
// Immutable view, valid as long as the file's bytes.
struct GgufTensor {
  std::string_view name;
  std::uint32_t type = 0;               // the file's number, see format()
  std::uint32_t num_dims = 0;           // 1 to 4
  std::array<std::uint64_t, 4> dims{};  // dims[0] is the fastest; those past num_dims are 1
  std::uint64_t offset = 0;             // from the start of the data section
  std::span<const std::byte> data;      // all bytes; empty where the size of the type is not known

  std::uint64_t cols() const { return dims[0]; }
  std::uint64_t rows() const { return dims[1] * dims[2] * dims[3]; }
  std::string shape() const;  // "[2048, 32000]", fastest first

  // Errors: kUnsupported, naming tensor and type.
  Result<WeightFormat> format() const;
  // All values expanded. Errors: as format(). For small tensors: norms, biases.
  Result<std::vector<float>> to_f32() const;
};

// Layout of the tensor types that are known by name; values come in blocks along a row.
struct GgufTensorType {
  std::uint32_t number;
  std::string_view name;
  std::uint32_t block_values;
  std::uint32_t block_bytes;
};

const GgufTensorType* find_gguf_tensor_type(std::uint32_t number);  // nullptr when unknown
std::string gguf_tensor_type_name(std::uint32_t number);            // "Q4_K", "type 77"

// Text from a file, fit for a one-line message: quoted, control bytes replaced, long ones cut.
std::string in_quotes(std::string_view text);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/gguf/gguf_types.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <type_traits>
#include <utility>

namespace cairn {
namespace {

struct TypeInfo {
  std::string_view name;
  std::size_t size;
};

// By number of GgufType.
constexpr std::array<TypeInfo, 13> kTypes{{
    {.name = "u8", .size = 1},
    {.name = "i8", .size = 1},
    {.name = "u16", .size = 2},
    {.name = "i16", .size = 2},
    {.name = "u32", .size = 4},
    {.name = "i32", .size = 4},
    {.name = "f32", .size = 4},
    {.name = "bool", .size = 1},
    {.name = "string", .size = 0},
    {.name = "array", .size = 0},
    {.name = "u64", .size = 8},
    {.name = "i64", .size = 8},
    {.name = "f64", .size = 8},
}};

constexpr std::array<GgufTensorType, 34> kTensorTypes{{
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},      {3, "Q4_1", 32, 20},
    {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},      {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 40},
    {10, "Q2_K", 256, 84},    {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66}, {17, "IQ2_XS", 256, 74},
    {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},   {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},
    {22, "IQ2_S", 256, 82},   {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
    {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},        {29, "IQ1_M", 256, 56},
    {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},   {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},
    {40, "NVFP4", 64, 36},    {41, "Q1_0", 128, 18},
}};

constexpr std::size_t kPreviewElements = 4;

template <class T>
T load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

template <class T>
std::string number_text(T value) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), end.ptr};
}

std::string scalar_text(GgufType type, const std::byte* bytes) {
  switch (type) {
    case GgufType::kUint8: return number_text(load<std::uint8_t>(bytes));
    case GgufType::kInt8: return number_text(load<std::int8_t>(bytes));
    case GgufType::kUint16: return number_text(load<std::uint16_t>(bytes));
    case GgufType::kInt16: return number_text(load<std::int16_t>(bytes));
    case GgufType::kUint32: return number_text(load<std::uint32_t>(bytes));
    case GgufType::kInt32: return number_text(load<std::int32_t>(bytes));
    case GgufType::kFloat32: return number_text(load<float>(bytes));
    case GgufType::kBool: return load<std::uint8_t>(bytes) != 0 ? "true" : "false";
    case GgufType::kUint64: return number_text(load<std::uint64_t>(bytes));
    case GgufType::kInt64: return number_text(load<std::int64_t>(bytes));
    case GgufType::kFloat64: return number_text(load<double>(bytes));
    case GgufType::kString:
    case GgufType::kArray: break;
  }
  return "?";
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;

template <class T, class From>
std::optional<T> convert(const std::byte* bytes) {
  From value;
  std::memcpy(&value, bytes, sizeof value);
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(value);
  } else if constexpr (std::is_integral_v<From>) {
    if (std::in_range<T>(value)) return static_cast<T>(value);
  }
  return std::nullopt;
}

// A number of any type as T, where its value fits.
template <class T>
std::optional<T> number(GgufType type, const std::byte* bytes) {
  switch (type) {
    case GgufType::kUint8: return convert<T, std::uint8_t>(bytes);
    case GgufType::kInt8: return convert<T, std::int8_t>(bytes);
    case GgufType::kUint16: return convert<T, std::uint16_t>(bytes);
    case GgufType::kInt16: return convert<T, std::int16_t>(bytes);
    case GgufType::kUint32: return convert<T, std::uint32_t>(bytes);
    case GgufType::kInt32: return convert<T, std::int32_t>(bytes);
    case GgufType::kUint64: return convert<T, std::uint64_t>(bytes);
    case GgufType::kInt64: return convert<T, std::int64_t>(bytes);
    case GgufType::kFloat32: return convert<T, float>(bytes);
    case GgufType::kFloat64: return convert<T, double>(bytes);
    case GgufType::kBool:
    case GgufType::kString:
    case GgufType::kArray: break;
  }
  return std::nullopt;
}

template <class T>
std::optional<T> array(const GgufValue& value) {
  if (value.type != GgufType::kArray) return std::nullopt;
  using Element = typename T::value_type;
  T out;
  const std::byte* at = value.bytes.data();
  if constexpr (std::is_same_v<Element, std::string_view>) {
    if (value.element != GgufType::kString) return std::nullopt;
    out.reserve(value.count);
    for (std::uint64_t i = 0; i < value.count; ++i) {
      std::uint64_t length;
      std::memcpy(&length, at, sizeof length);
      out.emplace_back(reinterpret_cast<const char*>(at + sizeof length), length);
      at += sizeof length + length;
    }
  } else {
    const std::size_t stride = gguf_type_size(value.element);
    if (stride == 0) return std::nullopt;
    out.reserve(value.count);
    for (std::uint64_t i = 0; i < value.count; ++i, at += stride) {
      const std::optional<Element> element = number<Element>(value.element, at);
      if (!element) return std::nullopt;
      out.push_back(*element);
    }
  }
  return out;
}

}  // namespace

std::string_view gguf_type_name(GgufType type) {
  const auto number = static_cast<std::size_t>(type);
  return number < kTypes.size() ? kTypes[number].name : "?";
}

std::size_t gguf_type_size(GgufType type) {
  const auto number = static_cast<std::size_t>(type);
  return number < kTypes.size() ? kTypes[number].size : 0;
}

std::string GgufValue::type_name() const {
  if (type != GgufType::kArray) return std::string(gguf_type_name(type));
  return "array of " + std::string(gguf_type_name(element));
}

std::string GgufValue::preview() const {
  if (type == GgufType::kString) return in_quotes(as_text(bytes));
  if (type != GgufType::kArray) return scalar_text(type, bytes.data());
  std::string text = "[";
  const std::byte* at = bytes.data();
  const std::uint64_t shown = std::min<std::uint64_t>(count, kPreviewElements);
  for (std::uint64_t i = 0; i < shown; ++i) {
    if (i != 0) text += ", ";
    if (element == GgufType::kString) {
      const auto length = static_cast<std::size_t>(load<std::uint64_t>(at));
      text += in_quotes(as_text({at + 8, length}));
      at += 8 + length;
    } else {
      text += scalar_text(element, at);
      at += gguf_type_size(element);
    }
  }
  if (count > shown) text += ", ... " + std::to_string(count) + " in all";
  return text + "]";
}

template <class T>
std::optional<T> GgufValue::as() const {
  if constexpr (std::is_same_v<T, bool>) {
    if (type != GgufType::kBool) return std::nullopt;
    return bytes[0] != std::byte{0};
  } else if constexpr (std::is_arithmetic_v<T>) {
    return number<T>(type, bytes.data());
  } else if constexpr (kIsVector<T>) {
    return array<T>(*this);
  } else {
    if (type != GgufType::kString) return std::nullopt;
    return T(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
}

template std::optional<bool> GgufValue::as() const;
template std::optional<std::uint32_t> GgufValue::as() const;
template std::optional<std::int32_t> GgufValue::as() const;
template std::optional<std::uint64_t> GgufValue::as() const;
template std::optional<std::int64_t> GgufValue::as() const;
template std::optional<float> GgufValue::as() const;
template std::optional<double> GgufValue::as() const;
template std::optional<std::string_view> GgufValue::as() const;
template std::optional<std::string> GgufValue::as() const;
template std::optional<std::vector<float>> GgufValue::as() const;
template std::optional<std::vector<std::int32_t>> GgufValue::as() const;
template std::optional<std::vector<std::string_view>> GgufValue::as() const;

std::string GgufTensor::shape() const {
  std::string text = "[";
  for (std::uint32_t i = 0; i < num_dims; ++i) text += (i == 0 ? "" : ", ") + std::to_string(dims[i]);
  return text + "]";
}

Result<WeightFormat> GgufTensor::format() const {
  if (const WeightFormatInfo* info = find_weight_format(type)) return info->format;
  std::string known;
  for (const WeightFormatInfo& info : weight_formats()) {
    const bool last = &info == &weight_formats().back();
    known += (known.empty() ? "" : last ? " or " : ", ") + std::string(info.name);
  }
  return fail(ErrorCode::kUnsupported, "tensor " + in_quotes(name) + " has type " + gguf_tensor_type_name(type) + " (" +
                                           std::to_string(type) + "), which is not supported; convert the model to " +
                                           known);
}

Result<std::vector<float>> GgufTensor::to_f32() const {
  CAIRN_TRY(const WeightFormat weight_format, format());
  std::vector<float> values(static_cast<std::size_t>(cols() * rows()));
  dequantise_row(weight_format, data.data(), values.size(), values.data());
  return values;
}

const GgufTensorType* find_gguf_tensor_type(std::uint32_t number) {
  for (const GgufTensorType& type : kTensorTypes) {
    if (type.number == number) return &type;
  }
  return nullptr;
}

std::string gguf_tensor_type_name(std::uint32_t number) {
  const GgufTensorType* type = find_gguf_tensor_type(number);
  return type != nullptr ? std::string(type->name) : "type " + std::to_string(number);
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kLongest = 64;
  std::size_t length = std::min(text.size(), kLongest);
  // Never cut a UTF-8 character in two.
  while (length < text.size() && length > 0 && (static_cast<unsigned char>(text[length]) & 0xc0) == 0x80) --length;
  std::string out = "'";
  for (const char c : text.substr(0, length)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  out += length < text.size() ? "...'" : "'";
  return out;
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/gguf/gguf.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

namespace cairn {
namespace {

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
const char* expectation() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  if constexpr (std::is_floating_point_v<T>) return "a number";
  if constexpr (std::is_same_v<T, std::uint32_t>) return "an unsigned 32-bit integer";
  if constexpr (std::is_same_v<T, std::uint64_t>) return "an unsigned integer";
  if constexpr (std::is_same_v<T, std::int32_t>) return "a 32-bit integer";
  if constexpr (std::is_same_v<T, std::int64_t>) return "an integer";
  if constexpr (std::is_same_v<T, std::vector<float>>) return "an array of numbers";
  if constexpr (std::is_same_v<T, std::vector<std::int32_t>>) return "an array of 32-bit integers";
  if constexpr (std::is_same_v<T, std::vector<std::string_view>>) return "an array of strings";
  return "a string";
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

template <class T>
std::optional<T> read(const GgufValue& value) {
  if constexpr (std::is_same_v<T, bool>) {
    if (value.type != GgufType::kBool) return std::nullopt;
    return value.bytes[0] != std::byte{0};
  } else if constexpr (std::is_arithmetic_v<T>) {
    return number<T>(value.type, value.bytes.data());
  } else if constexpr (kIsVector<T>) {
    return array<T>(value);
  } else {
    if (value.type != GgufType::kString) return std::nullopt;
    return T(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
  }
}

// The entry of `items` whose name (by `name_of`) is `name`, by way of the sorted indices.
template <class Items, class NameOf>
auto find_by(const Items& items, const std::vector<std::uint32_t>& order, std::string_view name, NameOf name_of)
    -> decltype(items.data()) {
  const auto at = std::ranges::lower_bound(order, name, {}, [&](std::uint32_t i) { return name_of(items[i]); });
  if (at == order.end() || name_of(items[*at]) != name) return nullptr;
  return &items[*at];
}

}  // namespace

Result<GgufFile> GgufFile::open(const std::string& path) {
  CAIRN_TRY(MappedFile mapping, MappedFile::open(path));
  Result<GgufFile> file = parse(mapping.bytes());
  if (!file) return fail(file.error().code, path + ": " + file.error().message);
  file->mapping_ = std::move(mapping);
  return file;
}

const GgufValue* GgufFile::find(std::string_view key) const {
  return find_by(metadata_, metadata_by_key_, key, [](const GgufValue& value) { return value.key; });
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  return find_by(tensors_, tensors_by_name_, name, [](const GgufTensor& tensor) { return tensor.name; });
}

template <class T>
Result<T> GgufFile::get(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return fail(ErrorCode::kNotFound, "the metadata has no " + in_quotes(key));
  if (std::optional<T> found = read<T>(*value)) return *std::move(found);
  return fail(ErrorCode::kCorrupt, "metadata " + in_quotes(key) + " must be " + expectation<T>() + ", but is " +
                                       value->preview() + " of type " + value->type_name());
}

template Result<bool> GgufFile::get(std::string_view) const;
template Result<std::uint32_t> GgufFile::get(std::string_view) const;
template Result<std::int32_t> GgufFile::get(std::string_view) const;
template Result<std::uint64_t> GgufFile::get(std::string_view) const;
template Result<std::int64_t> GgufFile::get(std::string_view) const;
template Result<float> GgufFile::get(std::string_view) const;
template Result<double> GgufFile::get(std::string_view) const;
template Result<std::string_view> GgufFile::get(std::string_view) const;
template Result<std::string> GgufFile::get(std::string_view) const;
template Result<std::vector<float>> GgufFile::get(std::string_view) const;
template Result<std::vector<std::int32_t>> GgufFile::get(std::string_view) const;
template Result<std::vector<std::string_view>> GgufFile::get(std::string_view) const;

void GgufFile::release(const GgufTensor& tensor) const {
  if (mapping_) mapping_->release(tensor.data);
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Test support: makes GGUF files in memory, well-formed by default and broken on request.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace cairn {

// Little-endian bytes, appended. Thread-compatible.
class ByteWriter {
 public:
  template <class T>
  ByteWriter& number(T value) {
    static_assert(std::is_arithmetic_v<T>);
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), bytes, bytes + sizeof value);
    return *this;
  }
  ByteWriter& bytes(std::span<const std::byte> data) {
    bytes_.insert(bytes_.end(), data.begin(), data.end());
    return *this;
  }
  ByteWriter& text(std::string_view value) {  // u64 length, then the bytes
    number<std::uint64_t>(value.size());
    return bytes(std::as_bytes(std::span(value)));
  }
  ByteWriter& pad_to(std::size_t alignment) {
    if (alignment != 0) bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  std::size_t size() const { return bytes_.size(); }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

// Metadata and tensors come out in the order they were given. Nothing is checked: duplicates, odd types and wrong sizes
// are what tests are made of. Thread-compatible.
class GgufBuilder {
 public:
  struct Tensor {
    std::string name;
    std::vector<std::uint64_t> dims;  // fastest first
    std::uint32_t type = 0;
    std::vector<std::byte> data;
    std::uint64_t offset = kNext;  // in the data section; kNext places it after the one before
  };
  static constexpr std::uint64_t kNext = UINT64_MAX;
  // Metadata types by their number in the format, written down here once more so that a test does not share the
  // parser's mistakes.
  static constexpr std::uint32_t kString = 8;
  static constexpr std::uint32_t kArray = 9;

  GgufBuilder& version(std::uint32_t value) {
    version_ = value;
    return *this;
  }
  // Of the data section; write the metadata general.alignment as well when it is not 32.
  GgufBuilder& alignment(std::size_t value) {
    alignment_ = value;
    return *this;
  }

  // T: any arithmetic type of GGUF, bool, or something that a string_view is made from.
  template <class T>
  GgufBuilder& set(std::string_view key, const T& value) {
    if constexpr (std::is_arithmetic_v<T>) {
      return raw(key, type_of<T>(), ByteWriter().number(value).take());
    } else {
      return raw(key, kString, ByteWriter().text(value).take());
    }
  }
  template <class T>
  GgufBuilder& array(std::string_view key, const std::vector<T>& values) {
    ByteWriter payload;
    if constexpr (std::is_arithmetic_v<T>) {
      payload.number(type_of<T>()).template number<std::uint64_t>(values.size());
      for (const T value : values) payload.number(value);
    } else {
      payload.number(kString).template number<std::uint64_t>(values.size());
      for (const T& value : values) payload.text(value);
    }
    return raw(key, kArray, payload.take());
  }
  // Type and payload as they go into the file.
  GgufBuilder& raw(std::string_view key, std::uint32_t type, std::vector<std::byte> payload) {
    metadata_.push_back({std::string(key), type, std::move(payload)});
    return *this;
  }
  GgufBuilder& erase(std::string_view key) {
    std::erase_if(metadata_, [&](const Metadata& entry) { return entry.key == key; });
    return *this;
  }

  GgufBuilder& tensor(Tensor tensor) {
    tensors_.push_back(std::move(tensor));
    return *this;
  }
  GgufBuilder& tensor_f32(std::string name, std::vector<std::uint64_t> dims, std::span<const float> values) {
    const auto bytes = std::as_bytes(values);
    return tensor({.name = std::move(name), .dims = std::move(dims), .type = 0, .data = {bytes.begin(), bytes.end()}});
  }
  // To look at or change what was added.
  std::vector<Tensor>& tensors() { return tensors_; }

  std::vector<std::byte> build() const {
    ByteWriter out;
    out.bytes(std::as_bytes(std::span("GGUF", 4))).number(version_);
    out.number<std::uint64_t>(tensors_.size()).number<std::uint64_t>(metadata_.size());
    for (const Metadata& entry : metadata_) out.text(entry.key).number(entry.type).bytes(entry.payload);

    ByteWriter data;
    for (const Tensor& tensor : tensors_) {
      data.pad_to(alignment_);
      out.text(tensor.name).number(static_cast<std::uint32_t>(tensor.dims.size()));
      for (const std::uint64_t dim : tensor.dims) out.number(dim);
      out.number(tensor.type).number(tensor.offset == kNext ? std::uint64_t{data.size()} : tensor.offset);
      data.bytes(tensor.data);
    }
    if (!tensors_.empty()) out.pad_to(alignment_);
    return out.bytes(data.take()).take();
  }

 private:
  struct Metadata {
    std::string key;
    std::uint32_t type;
    std::vector<std::byte> payload;
  };

  template <class T>
  static constexpr std::uint32_t type_of() {
    if constexpr (std::is_same_v<T, bool>) return 7;
    if constexpr (std::is_same_v<T, float>) return 6;
    if constexpr (std::is_same_v<T, double>) return 12;
    constexpr std::uint32_t add = std::is_signed_v<T> ? 1 : 0;
    if constexpr (sizeof(T) == 1) return 0 + add;
    if constexpr (sizeof(T) == 2) return 2 + add;
    if constexpr (sizeof(T) == 4) return 4 + add;
    return 10 + add;
  }

  std::uint32_t version_ = 3;
  std::size_t alignment_ = 32;
  std::vector<Metadata> metadata_;
  std::vector<Tensor> tensors_;
};

// A few keys of each kind and two tensors.
inline GgufBuilder small_gguf() {
  const std::vector<float> values = {1, 2, 3};
  return GgufBuilder()
      .set("general.alignment", std::uint32_t{32})
      .set("text", "value")
      .array("list", std::vector<std::string>{"a", "bc"})
      .array("ints", std::vector<std::int32_t>{1, 2})
      .tensor_f32("first", {3}, values)
      .tensor_f32("second", {1, 3}, values);
}

}  // namespace cairn

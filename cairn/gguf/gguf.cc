// SPDX-License-Identifier: Apache-2.0
#include "cairn/gguf/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <utility>

namespace cairn {
namespace {

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

// The entry of `items` whose name (by `name_of`) is `name`, by way of the sorted indices.
template <class Items, class NameOf>
auto find_by(const Items& items, const std::vector<std::uint32_t>& order, std::string_view name, NameOf name_of)
    -> decltype(items.data()) {
  const auto at = std::ranges::lower_bound(order, name, {}, [&](std::uint32_t i) { return name_of(items[i]); });
  if (at == order.end() || name_of(items[*at]) != name) return nullptr;
  return &items[*at];
}

static_assert(std::endian::native == std::endian::little, "GGUF numbers are read as they lie in the file");

constexpr std::uint64_t kLongestName = 65535;
constexpr std::uint64_t kLargestAlignment = 65536;
constexpr std::uint64_t kDefaultAlignment = 32;
// Smallest possible entries: key length, key of one byte, type, one-byte value; name length, name of one byte, number
// of dims, one dim, type, offset. Counts that cannot fit in the rest of the file are refused before anything is sized.
constexpr std::uint64_t kSmallestMetadata = 8 + 1 + 4 + 1;
constexpr std::uint64_t kSmallestTensor = 8 + 1 + 4 + 8 + 4 + 8;

std::unexpected<Error> corrupt(const std::string& what) {
  return fail(ErrorCode::kCorrupt, what + "; the file is damaged, fetch or convert it again");
}

// Walks the bytes; every step is checked against what is left.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t position() const { return position_; }
  std::uint64_t left() const { return bytes_.size() - position_; }

  Result<std::span<const std::byte>> take(std::uint64_t length, const std::string& what) {
    if (length > left()) {
      return corrupt("the file ends inside " + what + ": " + std::to_string(length) + " bytes needed at byte " +
                     std::to_string(position_) + ", " + std::to_string(left()) + " left");
    }
    const auto part = bytes_.subspan(position_, static_cast<std::size_t>(length));
    position_ += static_cast<std::size_t>(length);
    return part;
  }

  template <class T>
  Result<T> number(const std::string& what) {
    CAIRN_TRY(const std::span<const std::byte> part, take(sizeof(T), what));
    T value;
    std::memcpy(&value, part.data(), sizeof value);
    return value;
  }

  Result<std::string_view> text(std::uint64_t longest, const std::string& what) {
    CAIRN_TRY(const std::uint64_t length, number<std::uint64_t>(what));
    if (length > longest) return corrupt(what + " has an absurd length of " + std::to_string(length));
    CAIRN_TRY(const std::span<const std::byte> part, take(length, what));
    return std::string_view(reinterpret_cast<const char*>(part.data()), part.size());
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
};

// Indices of `items` sorted by name, or the name that occurs twice.
template <class Items, class NameOf>
Result<std::vector<std::uint32_t>> order_by(const Items& items, const char* what, NameOf name_of) {
  std::vector<std::uint32_t> order(items.size());
  std::iota(order.begin(), order.end(), 0u);
  const auto name = [&](std::uint32_t i) { return name_of(items[i]); };
  std::ranges::sort(order, {}, name);
  const auto twice = std::ranges::adjacent_find(order, {}, name);
  if (twice != order.end()) return corrupt(std::string(what) + " " + in_quotes(name(*twice)) + " occurs twice");
  return order;
}

}  // namespace

// The only code that trusts nothing: after it, lengths and offsets of a GgufFile are known to lie inside the file.
// Fills one GgufFile, section by section in file order.
class GgufParser {
 public:
  explicit GgufParser(std::span<const std::byte> bytes) : bytes_(bytes), cursor_(bytes) {
    file_.size_bytes_ = bytes.size();
  }

  Result<GgufFile> run() {
    CAIRN_TRY_VOID(read_header());
    CAIRN_TRY_VOID(read_metadata());
    CAIRN_TRY_VOID(read_alignment());
    CAIRN_TRY_VOID(read_tensors());
    CAIRN_TRY_VOID(place_tensors());
    return std::move(file_);
  }

 private:
  Status read_header() {
    CAIRN_TRY(const std::span<const std::byte> magic, cursor_.take(4, "the magic number"));
    if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
      return fail(ErrorCode::kCorrupt, "this is not a GGUF file: it does not start with the letters GGUF");
    }
    CAIRN_TRY(file_.version_, cursor_.number<std::uint32_t>("the version"));
    if (file_.version_ == 1) {
      return fail(ErrorCode::kUnsupported, "GGUF version 1 is not supported; convert the model again for version 3");
    }
    if (file_.version_ != 0 && (file_.version_ & 0xffff) == 0) {
      return fail(ErrorCode::kUnsupported, "this GGUF file is big-endian; convert the model again as little-endian");
    }
    if (file_.version_ != 2 && file_.version_ != 3) {
      return fail(ErrorCode::kUnsupported, "GGUF version " + std::to_string(file_.version_) +
                                               " is not supported; this build reads versions 2 and 3");
    }
    CAIRN_TRY(num_tensors_, cursor_.number<std::uint64_t>("the tensor count"));
    CAIRN_TRY(num_metadata_, cursor_.number<std::uint64_t>("the metadata count"));
    if (num_metadata_ > cursor_.left() / kSmallestMetadata) {
      return corrupt("the file cannot hold the " + std::to_string(num_metadata_) + " metadata entries it announces");
    }
    if (num_tensors_ > cursor_.left() / kSmallestTensor) {
      return corrupt("the file cannot hold the " + std::to_string(num_tensors_) + " tensors it announces");
    }
    return {};
  }

  Status read_metadata() {
    file_.metadata_.reserve(static_cast<std::size_t>(num_metadata_));
    for (std::uint64_t i = 0; i < num_metadata_; ++i) {
      GgufValue value;
      CAIRN_TRY(value.key, cursor_.text(kLongestName, "metadata key " + std::to_string(i)));
      if (value.key.empty()) return corrupt("metadata key " + std::to_string(i) + " is empty");
      CAIRN_TRY_VOID(read_value(value));
      file_.metadata_.push_back(value);
    }
    CAIRN_TRY(file_.metadata_by_key_,
              order_by(file_.metadata_, "metadata key", [](const GgufValue& value) { return value.key; }));
    return {};
  }

  Status read_value(GgufValue& value) {
    const std::string what = "the value of " + in_quotes(value.key);
    CAIRN_TRY(value.type, read_type(what));
    value.element = value.type;
    if (value.type == GgufType::kString) {
      CAIRN_TRY(const std::string_view text, cursor_.text(UINT64_MAX, what));
      value.bytes = std::as_bytes(std::span(text));
      return {};
    }
    if (value.type == GgufType::kArray) return read_array(value, what);
    CAIRN_TRY(value.bytes, cursor_.take(gguf_type_size(value.type), what));
    return {};
  }

  Status read_array(GgufValue& value, const std::string& what) {
    CAIRN_TRY(value.element, read_type(what));
    if (value.element == GgufType::kArray) {
      return fail(ErrorCode::kUnsupported, what + " is an array of arrays, which is not supported");
    }
    CAIRN_TRY(value.count, cursor_.number<std::uint64_t>(what));
    const std::size_t begin = cursor_.position();
    const std::size_t size = gguf_type_size(value.element);
    const std::size_t smallest = size != 0 ? size : sizeof(std::uint64_t);
    if (value.count > cursor_.left() / smallest) {
      return corrupt(what + " announces " + std::to_string(value.count) + " elements, more than the file can hold");
    }
    if (size != 0) {
      CAIRN_TRY(value.bytes, cursor_.take(value.count * size, what));
      return {};
    }
    for (std::uint64_t i = 0; i < value.count; ++i) CAIRN_TRY_VOID(cursor_.text(UINT64_MAX, what));
    value.bytes = bytes_.subspan(begin, cursor_.position() - begin);
    return {};
  }

  Result<GgufType> read_type(const std::string& what) {
    CAIRN_TRY(const std::uint32_t number, cursor_.number<std::uint32_t>("the type of " + what));
    if (number > static_cast<std::uint32_t>(GgufType::kFloat64)) {
      return corrupt(what + " has the unknown type " + std::to_string(number));
    }
    return static_cast<GgufType>(number);
  }

  Status read_alignment() {
    constexpr std::string_view kKey = "general.alignment";
    CAIRN_TRY(file_.alignment_, file_.get_or<std::uint64_t>(kKey, kDefaultAlignment));
    if (!std::has_single_bit(file_.alignment_) || file_.alignment_ < 8 || file_.alignment_ > kLargestAlignment) {
      return corrupt("general.alignment must be a power of two from 8 to " + std::to_string(kLargestAlignment) +
                     ", but is " + std::to_string(file_.alignment_));
    }
    return {};
  }

  Status read_tensors() {
    file_.tensors_.reserve(static_cast<std::size_t>(num_tensors_));
    for (std::uint64_t i = 0; i < num_tensors_; ++i) {
      GgufTensor tensor;
      CAIRN_TRY(tensor.name, cursor_.text(kLongestName, "the name of tensor " + std::to_string(i)));
      if (tensor.name.empty()) return corrupt("the name of tensor " + std::to_string(i) + " is empty");
      const std::string what = "tensor " + in_quotes(tensor.name);
      CAIRN_TRY(tensor.num_dims, cursor_.number<std::uint32_t>(what));
      if (tensor.num_dims == 0 || tensor.num_dims > tensor.dims.size()) {
        return corrupt(what + " has " + std::to_string(tensor.num_dims) + " dimensions; 1 to 4 are possible");
      }
      tensor.dims.fill(1);
      for (std::uint32_t d = 0; d < tensor.num_dims; ++d) {
        CAIRN_TRY(tensor.dims[d], cursor_.number<std::uint64_t>(what));
      }
      CAIRN_TRY(tensor.type, cursor_.number<std::uint32_t>(what));
      CAIRN_TRY(tensor.offset, cursor_.number<std::uint64_t>(what));
      file_.tensors_.push_back(tensor);
    }
    CAIRN_TRY(file_.tensors_by_name_,
              order_by(file_.tensors_, "tensor", [](const GgufTensor& tensor) { return tensor.name; }));
    return {};
  }

  Status place_tensors() {
    if (file_.tensors_.empty()) return {};
    const std::uint64_t padding = (file_.alignment_ - cursor_.position() % file_.alignment_) % file_.alignment_;
    CAIRN_TRY_VOID(cursor_.take(padding, "the padding before the tensors"));
    const std::span<const std::byte> section = bytes_.subspan(cursor_.position());
    for (GgufTensor& tensor : file_.tensors_) CAIRN_TRY_VOID(place(tensor, section));
    return {};
  }

  Status place(GgufTensor& tensor, std::span<const std::byte> section) {
    const std::string what = "tensor " + in_quotes(tensor.name);
    std::uint64_t values = 1;
    for (const std::uint64_t dim : tensor.dims) {
      if (dim == 0) return corrupt(what + " has a dimension of 0");
      if (__builtin_mul_overflow(values, dim, &values)) return corrupt(what + " is too large: " + tensor.shape());
    }
    if (tensor.offset % file_.alignment_ != 0) {
      return corrupt(what + " is misaligned: offset " + std::to_string(tensor.offset) + " is not a multiple of " +
                     std::to_string(file_.alignment_));
    }
    if (tensor.offset > section.size()) return corrupt(what + " lies outside the file");
    const GgufTensorType* type = find_gguf_tensor_type(tensor.type);
    if (type == nullptr) return {};  // size unknown: listed, but its bytes cannot be had
    if (tensor.cols() % type->block_values != 0) {
      return corrupt(what + " of type " + std::string(type->name) + " has rows of " + std::to_string(tensor.cols()) +
                     " values, not a multiple of " + std::to_string(type->block_values));
    }
    std::uint64_t size = 0;
    if (__builtin_mul_overflow(values / type->block_values, type->block_bytes, &size)) {
      return corrupt(what + " is too large: " + tensor.shape());
    }
    if (size > section.size() - tensor.offset) {
      return corrupt(what + " reaches beyond the end of the file: " + std::to_string(size) + " bytes needed, " +
                     std::to_string(section.size() - tensor.offset) + " left");
    }
    tensor.data = section.subspan(static_cast<std::size_t>(tensor.offset), static_cast<std::size_t>(size));
    return {};
  }

  std::span<const std::byte> bytes_;
  Cursor cursor_;
  GgufFile file_;
  std::uint64_t num_tensors_ = 0;
  std::uint64_t num_metadata_ = 0;
};

Result<GgufFile> GgufFile::parse(std::span<const std::byte> bytes) {
  return GgufParser(bytes).run();
}

Status GgufFile::absorb(GgufFile part) {
  for (MappedFile& mapping : part.mappings_) mappings_.push_back(std::move(mapping));
  size_bytes_ += part.size_bytes_;
  tensors_.insert(tensors_.end(), part.tensors_.begin(), part.tensors_.end());
  CAIRN_TRY(tensors_by_name_, order_by(tensors_, "tensor", [](const GgufTensor& tensor) { return tensor.name; }));
  return {};
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
  if (std::optional<T> found = value->as<T>()) return *std::move(found);
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
  for (const MappedFile& mapping : mappings_) {
    if (mapping.holds(tensor.data)) mapping.release(tensor.data);
  }
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// A GGUF model (versions 2 and 3, little-endian) in one file or several: typed metadata and tensors, as views of the
// mapped bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/gguf/gguf_types.h"
#include "cairn/gguf/mapped_file.h"

namespace cairn {

// Every length, count, type and offset was checked against the file when a GgufFile exists. Immutable, so thread-safe;
// movable, and views of it (strings, tensors, spans) survive the move.
class GgufFile {
 public:
  // Maps and parses. Where the file is one of the parts of a model (gguf_split.h), all of them: metadata is that of the
  // first, tensors are those of all in order. Errors: those of MappedFile::open and parse, with the path in front;
  // kNotFound (a part is missing), kCorrupt (a part of another model, not the part that its name says, or a whole model
  // named as one of several parts).
  static Result<GgufFile> open(const std::string& path);
  // Parses the bytes of one file that the caller keeps alive. Tensor data is aligned relative to their start.
  // Errors: kCorrupt (bytes contradict the format, or end early), kUnsupported (version 1, big-endian, nested arrays).
  static Result<GgufFile> parse(std::span<const std::byte> bytes);

  std::uint32_t version() const { return version_; }
  std::uint64_t alignment() const { return alignment_; }
  std::uint64_t size_bytes() const { return size_bytes_; }           // of all parts
  std::span<const GgufValue> metadata() const { return metadata_; }  // in file order
  std::span<const GgufTensor> tensors() const { return tensors_; }   // in file order

  const GgufValue* find(std::string_view key) const;           // nullptr when absent
  const GgufTensor* find_tensor(std::string_view name) const;  // nullptr when absent

  // T: bool, (u)int32_t, (u)int64_t, float, double, std::string_view, std::string, and std::vector of float, int32_t,
  // std::string_view. Integers convert where the value fits, numbers convert to float.
  // Errors: kNotFound (no such key), kCorrupt (other type, or out of range), each naming the key and what was found.
  template <class T>
  Result<T> get(std::string_view key) const;
  // As get, but an absent key gives the fallback; a present one of the wrong type is still an error.
  template <class T>
  Result<T> get_or(std::string_view key, T fallback) const {
    if (find(key) == nullptr) return fallback;
    return get<T>(key);
  }

  // Gives back the physical pages of a tensor (see MappedFile::release); nothing happens for parsed bytes.
  void release(const GgufTensor& tensor) const;

 private:
  friend class GgufParser;
  friend class GgufJoiner;
  GgufFile() = default;
  static Result<GgufFile> open_one(const std::string& path);
  // Adds the tensors of a further part. Errors: kCorrupt (a tensor of this name exists).
  Status absorb(GgufFile part);

  std::vector<MappedFile> mappings_;  // one per part, by open
  std::uint64_t size_bytes_ = 0;
  std::uint32_t version_ = 0;
  std::uint64_t alignment_ = 0;
  std::vector<GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
  std::vector<std::uint32_t> metadata_by_key_;  // indices, sorted: hostile names cannot make look-ups slow
  std::vector<std::uint32_t> tensors_by_name_;
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// A whole file mapped read-only, so that weights are paged in by the system and never copied.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "cairn/base/result.h"

namespace cairn {

// Owns the mapping; the bytes live as long as it does and stay where they are when it is moved. Thread-safe once open.
// A file that is truncated while it is mapped ends the process with SIGBUS, as with every mapping.
class MappedFile {
 public:
  // Errors: kNotFound (no such file), kIo (not a regular file, no permission, the system refuses), kCorrupt (empty).
  static Result<MappedFile> open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return bytes_; }

  // Whether `part` lies in bytes().
  bool holds(std::span<const std::byte> part) const;

  // Drops the physical pages that lie wholly inside `part`, a part of bytes(). Its contents stay readable: they come
  // from the file again when touched. For weights that were expanded elsewhere and are not needed twice.
  void release(std::span<const std::byte> part) const;

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> bytes_;
};

}  // namespace cairn

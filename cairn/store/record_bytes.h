// SPDX-License-Identifier: Apache-2.0
// Memory that direct I/O can read into: aligned to and sized in pages of 4096 bytes.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

namespace cairn {

inline constexpr std::size_t kDirectIoPage = 4096;

constexpr std::size_t round_to_io_page(std::size_t bytes) {
  return (bytes + kDirectIoPage - 1) / kDirectIoPage * kDirectIoPage;
}

// Owning, movable, contents uninitialised. Empty after a failed allocation is impossible: it throws like new.
class RecordBytes {
 public:
  RecordBytes() = default;
  explicit RecordBytes(std::size_t bytes)
      : data_(static_cast<std::byte*>(::operator new(round_to_io_page(bytes), std::align_val_t{kDirectIoPage}))),
        size_(round_to_io_page(bytes)) {}

  std::byte* data() const { return data_.get(); }
  std::size_t size() const { return size_; }  // a multiple of kDirectIoPage
  std::span<std::byte> span() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete(p, std::align_val_t{kDirectIoPage}); }
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace cairn

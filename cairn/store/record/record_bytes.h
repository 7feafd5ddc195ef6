// SPDX-License-Identifier: Apache-2.0
// Memory that direct I/O can read into: aligned to and sized in pages of 4096 bytes. That of records that are gone is
// kept for the next ones: the system clears every page it hands out, which takes longer than reading a block from a
// near server.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace cairn {

inline constexpr std::size_t kDirectIoPage = 4096;

constexpr std::size_t round_to_io_page(std::size_t bytes) {
  return (bytes + kDirectIoPage - 1) / kDirectIoPage * kDirectIoPage;
}

// What is kept at most.
inline constexpr std::size_t kRecordPoolBytes = std::size_t{64} << 20;

// Memory aligned to kDirectIoPage, contents unspecified. Throws like new. Thread-safe.
std::byte* take_record_memory(std::size_t bytes);
// Requires: taken with the same size. Null is ignored. Thread-safe.
void give_record_memory(std::byte* memory, std::size_t bytes) noexcept;

// Owning, movable, contents uninitialised. Empty after a failed allocation is impossible: it throws like new.
class RecordBytes {
 public:
  RecordBytes() = default;
  explicit RecordBytes(std::size_t bytes)
      : data_(take_record_memory(round_to_io_page(bytes)), Free{round_to_io_page(bytes)}),
        size_(round_to_io_page(bytes)) {}

  std::byte* data() const { return data_.get(); }
  std::size_t size() const { return size_; }  // a multiple of kDirectIoPage
  std::span<std::byte> span() const { return {data_.get(), size_}; }

 private:
  struct Free {
    std::size_t bytes;
    void operator()(std::byte* p) const { give_record_memory(p, bytes); }
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace cairn

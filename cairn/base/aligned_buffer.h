// SPDX-License-Identifier: Apache-2.0
// Owning memory for weights and activations: 64-byte aligned, on huge pages where it is large enough to matter.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace cairn {

// Untyped anonymous memory from the operating system, zero-filled and resident only where touched. Movable, not
// copyable; moving keeps the address. The bytes live as long as the object. Thread-compatible: the bytes may be used
// from several threads like any memory.
class MappedMemory {
 public:
  MappedMemory() = default;
  // An empty object (data() == nullptr) when the system refuses.
  explicit MappedMemory(std::size_t bytes);
  ~MappedMemory();
  MappedMemory(MappedMemory&& other) noexcept;
  MappedMemory& operator=(MappedMemory&& other) noexcept;

  std::byte* data() const { return data_; }
  std::size_t size() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// A growable scratch array of trivial T, not initialised: contents are not kept where it grows, and pointers into it
// end there. Owns its memory. Thread-compatible.
template <class T>
class Scratch {
 public:
  // At least `count` elements, 64-byte aligned; grows, never shrinks.
  T* ensure(std::size_t count) {
    if (count > capacity_) {
      data_.reset(static_cast<T*>(::operator new (count * sizeof(T), std::align_val_t{64})));
      capacity_ = count;
    }
    return data_.get();
  }
  T* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete (p, std::align_val_t{64}); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t capacity_ = 0;
};

}  // namespace cairn

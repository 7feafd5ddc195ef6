// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/record/record_bytes.h"

#include <array>
#include <mutex>
#include <new>

namespace cairn {
namespace {

constexpr std::align_val_t kAlignment{4096};
constexpr std::size_t kSlots = 64;

#ifdef __SANITIZE_ADDRESS__
constexpr bool kKeeps = false;  // or uses after the end would go unseen
#else
constexpr bool kKeeps = true;
#endif

struct Kept {
  std::byte* memory = nullptr;
  std::size_t bytes = 0;
};

// A ring: what was kept longest goes first.
struct Pool {
  std::mutex mutex;
  // Guarded by mutex.
  std::array<Kept, kSlots> slots;
  std::size_t next = 0;
  std::size_t bytes = 0;
};

Pool& pool() {
  static Pool* const pool = new Pool;  // records may be freed after static objects are gone
  return *pool;
}

}  // namespace

std::byte* take_record_memory(std::size_t bytes) {
  if (kKeeps && bytes > 0) {
    Pool& kept = pool();
    const std::lock_guard lock(kept.mutex);
    // What was given last is likeliest to lie in the processor's cache.
    for (std::size_t i = 1; i <= kSlots; ++i) {
      Kept& slot = kept.slots[(kept.next + kSlots - i) % kSlots];
      if (slot.bytes != bytes) continue;
      kept.bytes -= bytes;
      std::byte* const memory = slot.memory;
      slot = {};
      return memory;
    }
  }
  return static_cast<std::byte*>(::operator new(bytes, kAlignment));
}

void give_record_memory(std::byte* memory, std::size_t bytes) noexcept {
  if (memory == nullptr) return;
  if (!kKeeps || bytes == 0 || bytes > kRecordPoolBytes / 4) return ::operator delete(memory, kAlignment);
  std::array<Kept, kSlots> dropped;
  std::size_t count = 0;
  {
    Pool& kept = pool();
    const std::lock_guard lock(kept.mutex);
    const auto drop = [&](Kept& slot) {
      if (slot.memory == nullptr) return;
      kept.bytes -= slot.bytes;
      dropped[count++] = slot;
      slot = {};
    };
    for (std::size_t i = 0; i < kSlots && kept.bytes + bytes > kRecordPoolBytes; ++i) {
      drop(kept.slots[(kept.next + i) % kSlots]);
    }
    drop(kept.slots[kept.next]);
    kept.slots[kept.next] = {memory, bytes};
    kept.next = (kept.next + 1) % kSlots;
    kept.bytes += bytes;
  }
  for (std::size_t i = 0; i < count; ++i) ::operator delete(dropped[i].memory, kAlignment);
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// A fixed team of threads for data-parallel loops of some microseconds. The caller is a member of the team.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace cairn {

// Thread-compatible: run() is to be called from one thread at a time, which may be another one each time, and not from
// inside a body. What the caller wrote before run() its bodies see, and what they wrote the caller sees after it.
// Bodies must not throw. The threads live as long as the pool; its destructor waits for them.
class ThreadPool {
 public:
  // `threads` counts the caller; 0 means one per available core. Where the system refuses to start them all, size()
  // is smaller.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  unsigned size() const { return static_cast<unsigned>(workers_.size()) + 1; }

  // Calls body(item, thread) once for every item in [0, items) with thread < size(); returns when all are done. Each
  // thread walks a stretch of neighbouring items in order, so that memory is read as one stream, and helps with the
  // others' stretches when its own is done. Results must not depend on which thread ran an item.
  template <class Body>
  void run(std::size_t items, Body&& body) {
    run_erased(
        items,
        [](void* context, std::size_t item, unsigned thread) {
          (*static_cast<std::remove_reference_t<Body>*>(context))(item, thread);
        },
        &body);
  }

 private:
  using Call = void (*)(void* context, std::size_t item, unsigned thread);
  void run_erased(std::size_t items, Call call, void* context);
  void work(unsigned thread);
  void drain(unsigned thread);

  // Written by run() before `generation_` is bumped, read by workers after they see the new value.
  Call call_ = nullptr;
  void* context_ = nullptr;

  struct alignas(64) Stretch {
    std::atomic<std::size_t> next{0};
    std::size_t end = 0;
  };
  std::vector<Stretch> stretches_;  // one per thread that was asked for

  alignas(64) std::atomic<std::uint32_t> generation_{0};
  alignas(64) std::atomic<std::uint32_t> busy_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/thread_pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <system_error>

namespace cairn {
namespace {

// Long enough to bridge the serial work between two loops of one layer, short enough not to burn an idle machine.
constexpr int kSpins = 4000;
constexpr int kSpinsPerYield = 100;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Waits until `value` differs from `old`: spinning first, then asleep.
std::uint32_t await_change(std::atomic<std::uint32_t>& value, std::uint32_t old) {
  for (int spin = 0; spin < kSpins; ++spin) {
    const std::uint32_t now = value.load(std::memory_order_acquire);
    if (now != old) return now;
    relax();
    // Whom we wait for may itself wait for this core.
    if (spin % kSpinsPerYield == kSpinsPerYield - 1) std::this_thread::yield();
  }
  value.wait(old, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(unsigned threads)
    : stretches_(threads == 0 ? std::max(1u, std::thread::hardware_concurrency()) : threads) {
  threads = static_cast<unsigned>(stretches_.size());
  try {
    for (unsigned thread = 1; thread < threads; ++thread) workers_.emplace_back([this, thread] { work(thread); });
  } catch (const std::system_error&) {
    // The system gives no more; size() tells, and those that run help with every stretch.
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_erased(std::size_t items, Call call, void* context) {
  if (items <= 1 || workers_.empty()) {
    for (std::size_t item = 0; item < items; ++item) call(context, item, 0);
    return;
  }
  call_ = call;
  context_ = context;
  for (std::size_t t = 0; t < stretches_.size(); ++t) {
    stretches_[t].next.store(items * t / stretches_.size(), std::memory_order_relaxed);
    stretches_[t].end = items * (t + 1) / stretches_.size();
  }
  busy_.store(static_cast<std::uint32_t>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  drain(0);
  // Every worker checks in, even one that found no item left: only then may the fields above be written again.
  for (std::uint32_t left = busy_.load(std::memory_order_acquire); left != 0;) left = await_change(busy_, left);
}

void ThreadPool::drain(unsigned thread) {
  for (std::size_t i = 0; i < stretches_.size(); ++i) {
    Stretch& stretch = stretches_[(thread + i) % stretches_.size()];
    while (true) {
      const std::size_t item = stretch.next.fetch_add(1, std::memory_order_relaxed);
      if (item >= stretch.end) break;
      call_(context_, item, thread);
    }
  }
}

void ThreadPool::work(unsigned thread) {
  std::uint32_t seen = 0;
  while (true) {
    seen = await_change(generation_, seen);
    if (stop_.load(std::memory_order_relaxed)) return;
    drain(thread);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_all();
  }
}

}  // namespace cairn

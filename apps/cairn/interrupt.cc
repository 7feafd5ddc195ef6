// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/interrupt.h"

namespace cairn {
namespace {

std::atomic<bool> flag{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may touch nothing else");

void on_signal(int /*number*/) {
  flag.store(true, std::memory_order_relaxed);
}

}  // namespace

InterruptScope::InterruptScope() {
  clear_interrupt();
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_);
}

InterruptScope::~InterruptScope() {
  sigaction(SIGINT, &previous_, nullptr);
}

const std::atomic<bool>& interrupt_flag() {
  return flag;
}
bool interrupted() {
  return flag.load(std::memory_order_relaxed);
}
void clear_interrupt() {
  flag.store(false, std::memory_order_relaxed);
}

}  // namespace cairn

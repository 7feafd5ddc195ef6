// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace cairn {
namespace {

std::atomic<bool> flag{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may touch nothing else");

// The handler writes to this pipe, so that a wait sees a signal that came before it or went to another thread.
int wake_pipe[2] = {-1, -1};

void on_signal(int /*number*/) {
  const int saved = errno;
  flag.store(true, std::memory_order_relaxed);
  if (::write(wake_pipe[1], "", 1) < 0) {
    // Full: the wait will wake up anyway.
  }
  errno = saved;
}

}  // namespace

InterruptScope::InterruptScope() {
  if (wake_pipe[0] < 0 && ::pipe2(wake_pipe, O_NONBLOCK | O_CLOEXEC) != 0) wake_pipe[0] = wake_pipe[1] = -1;
  clear_interrupt();
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
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
  char bytes[64];
  while (::read(wake_pipe[0], bytes, sizeof bytes) > 0) {
  }
}

bool wait_for_input(int descriptor) {
  pollfd waits[2] = {{.fd = descriptor, .events = POLLIN, .revents = 0},
                     {.fd = wake_pipe[0], .events = POLLIN, .revents = 0}};
  while (::poll(waits, 2, -1) < 0 && errno == EINTR) {
    if (interrupted()) return false;
  }
  return !interrupted();
}

}  // namespace cairn

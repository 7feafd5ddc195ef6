// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/serve/stop_signals.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "apps/cairn/commands.h"
#include "cairn/base/check.h"

namespace cairn::cli {
namespace {

std::atomic<int> seen{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch nothing else");
int wake_pipe[2] = {-1, -1};

void on_signal(int /*number*/) {
  const int saved = errno;
  if (seen.fetch_add(1) > 0) ::_exit(exit_status(ErrorCode::kCancelled));
  if (::write(wake_pipe[1], "", 1) < 0) {
    // The pipe is empty before the first signal, so it takes the byte.
  }
  errno = saved;
}

}  // namespace

StopSignals::StopSignals() {
  CAIRN_CHECK(::pipe2(wake_pipe, O_NONBLOCK | O_CLOEXEC) == 0);
  seen = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_int_);
  sigaction(SIGTERM, &action, &previous_term_);
}

StopSignals::~StopSignals() {
  sigaction(SIGINT, &previous_int_, nullptr);
  sigaction(SIGTERM, &previous_term_, nullptr);
  ::close(wake_pipe[0]);
  ::close(wake_pipe[1]);
}

void StopSignals::wait() const {
  pollfd wait{.fd = wake_pipe[0], .events = POLLIN, .revents = 0};
  while (seen == 0) ::poll(&wait, 1, -1);
}

}  // namespace cairn::cli

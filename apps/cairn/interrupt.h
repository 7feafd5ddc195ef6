// SPDX-License-Identifier: Apache-2.0
// Ctrl-C as a flag: within the life of an InterruptScope, SIGINT sets it instead of ending the program.
#pragma once

#include <atomic>
#include <csignal>

namespace cairn {

// One at a time.
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

 private:
  struct sigaction previous_ {};
};

const std::atomic<bool>& interrupt_flag();  // for calls that want to be told
bool interrupted();
void clear_interrupt();

// Waits until the descriptor has something to read (or has ended): true. False as soon as the flag is set, also when
// that happened just before the call. Requires: an InterruptScope.
bool wait_for_input(int descriptor);

}  // namespace cairn

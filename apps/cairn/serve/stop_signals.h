// SPDX-License-Identifier: Apache-2.0
// SIGINT and SIGTERM: the first asks the server to stop, the second ends the program at once.
#pragma once

#include <csignal>

namespace cairn::cli {

// One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  void wait() const;  // until the first signal, also one that came before the call

 private:
  struct sigaction previous_int_ {};
  struct sigaction previous_term_ {};
};

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
// Input from people: files, lines of standard input, and Ctrl-C as a flag.
#pragma once

#include <atomic>
#include <csignal>
#include <optional>
#include <string>

#include "cairn/base/result.h"

namespace cairn::cli {

// A whole file, or standard input for "-". Bytes are taken as they are: text need not be valid UTF-8.
// Errors: kNotFound, kIo (directory, no permission), kInvalidArgument (more than 1 GiB).
Result<std::string> read_text(const std::string& path);

// The same for what is measured as text. Errors: those of read_text; kCorrupt where it is not UTF-8.
Result<std::string> read_utf8_text(const std::string& path);

// Within its life SIGINT sets a flag instead of ending the program. One at a time.
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

// Lines of standard input, while Ctrl-C can end the wait for the next one.
// Requires: an InterruptScope is alive while next() runs. Thread-compatible.
class LineReader {
 public:
  // The next line without its end. Nothing at the end of input, when reading fails, and when Ctrl-C was pressed.
  std::optional<std::string> next();

 private:
  std::string buffer_;  // read, but not handed out
  bool ended_ = false;
};

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
// Lines of standard input, while Ctrl-C can end the wait for the next one.
#pragma once

#include <optional>
#include <string>

namespace cairn {

// Requires: an InterruptScope is alive while next() runs. Thread-compatible.
class LineReader {
 public:
  // The next line without its end. Nothing at the end of input, when reading fails, and when Ctrl-C was pressed.
  std::optional<std::string> next();

 private:
  std::string buffer_;  // read, but not handed out
  bool ended_ = false;
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/line_reader.h"

#include <unistd.h>

#include <utility>

#include "apps/cairn/interrupt.h"

namespace cairn {

std::optional<std::string> LineReader::next() {
  while (true) {
    if (const std::size_t end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    if (ended_) {
      if (buffer_.empty()) return std::nullopt;
      return std::exchange(buffer_, {});
    }
    if (!wait_for_input(STDIN_FILENO)) return std::nullopt;
    char bytes[4096];
    const ssize_t got = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (got > 0) {
      buffer_.append(bytes, static_cast<std::size_t>(got));
    } else {
      ended_ = true;
    }
  }
}

}  // namespace cairn

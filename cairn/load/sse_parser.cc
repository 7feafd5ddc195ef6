// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/sse_parser.h"

#include <algorithm>
#include <utility>

namespace cairn {

bool SseParser::feed(std::string_view bytes, const OnData& on_data) {
  while (!bytes.empty() && !too_long_) {
    if (std::exchange(after_cr_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const std::size_t end = std::min(bytes.find_first_of("\r\n"), bytes.size());
    if (line_.size() + data_.size() + end > max_bytes_) {
      too_long_ = true;
      break;
    }
    line_ += bytes.substr(0, end);
    if (end == bytes.size()) break;
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    end_line(on_data);
  }
  return !too_long_;
}

void SseParser::end_line(const OnData& on_data) {
  const std::string line = std::exchange(line_, {});
  if (line.empty()) {
    if (std::exchange(has_data_, false)) on_data(std::exchange(data_, {}));
    return;
  }
  std::string_view value = line;
  if (value == "data") {
    value = {};
  } else if (value.starts_with("data:")) {
    value.remove_prefix(value.starts_with("data: ") ? 6 : 5);
  } else {
    return;
  }
  if (has_data_) data_ += '\n';
  data_ += value;
  has_data_ = true;
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Server-sent events (WHATWG HTML, 9.2): the data of each event out of a byte stream that arrives in any pieces.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace cairn {

// Thread-compatible. Lines end with LF, CR or CR LF; comments and fields other than `data` are skipped. An event that
// the stream ends in the middle of is not one.
class SseParser {
 public:
  using OnData = std::function<void(std::string_view data)>;

  explicit SseParser(std::size_t max_bytes = std::size_t{16} << 20) : max_bytes_(max_bytes) {}

  // False: an event or a line is longer than `max_bytes`; nothing more is read.
  bool feed(std::string_view bytes, const OnData& on_data);

 private:
  void end_line(const OnData& on_data);

  const std::size_t max_bytes_;
  std::string line_, data_;
  bool has_data_ = false, after_cr_ = false, too_long_ = false;
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// How a chunked body must be written (RFC 9112, 7.1), byte by byte. The HTTP library takes sizes such as "0x5", "+5",
// " 5" and "-5": whoever stands in front of us and reads them another way sees other requests than we do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace cairn {

// Extensions of a chunk are taken and mean nothing; trailers are not taken. Thread-compatible.
class ChunkRules {
 public:
  // The next bytes as they come, cut anywhere, up to the end of the body and no further. False from the first byte on
  // that breaks a rule.
  bool take(std::string_view bytes);
  // Which rule; empty while none is broken.
  std::string_view why() const { return why_; }
  bool complete() const { return state_ == State::kEnd && why_.empty(); }

 private:
  // What comes next.
  enum class State : std::uint8_t { kSize, kExtension, kSizeLf, kData, kDataCr, kDataLf, kLastCr, kLastLf, kEnd };

  void step(char c);
  void size_byte(char c);
  void expect(bool as_it_must_be, State next, std::string_view why);

  State state_ = State::kSize;
  std::size_t digits_ = 0;
  std::uint64_t left_ = 0;  // of the chunk
  std::string_view why_{};
};

}  // namespace cairn

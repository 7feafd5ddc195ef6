// SPDX-License-Identifier: Apache-2.0
// The library's HTTP client with a bound on what it keeps of a reply without handing it on: the head, the lines of
// chunks. It has none itself.
#pragma once

#include <cstddef>
#include <memory>

#include "cairn/load/target.h"

namespace httplib {
class ClientImpl;
}

namespace cairn {

constexpr std::size_t kMaxUnseen = std::size_t{64} << 10;

// Bytes read since something was last handed on. Used by the thread of one exchange.
class UnseenBytes {
 public:
  void handed_on() { bytes_ = 0; }
  // False: too many.
  bool read(std::size_t bytes) { return (bytes_ += bytes) <= kMaxUnseen; }
  bool too_many() const { return bytes_ > kMaxUnseen; }

 private:
  std::size_t bytes_ = 0;
};

// The reading of a reply fails when there are too many. `unseen` outlives the client.
std::unique_ptr<httplib::ClientImpl> bounded_client(const LoadTarget& target, UnseenBytes& unseen);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/checksum-inl.h"

namespace cairn {

std::uint64_t copy_with_checksum_avx512(std::byte* to, const std::byte* from, std::size_t bytes) {
  return copy_and_hash(to, from, bytes);
}

}  // namespace cairn

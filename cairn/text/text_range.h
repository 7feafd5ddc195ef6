// SPDX-License-Identifier: Apache-2.0
// A stretch of a text.
#pragma once

#include <cstddef>

namespace cairn {

// Bytes [begin, end).
struct TextRange {
  std::size_t begin = 0;
  std::size_t end = 0;

  bool operator==(const TextRange&) const = default;
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Reading input and writing numbers for people.
#pragma once

#include <cstddef>
#include <string>

#include "cairn/base/result.h"

namespace cairn {

// A whole file, or standard input for "-". Bytes are taken as they are: text need not be valid UTF-8.
// Errors: kNotFound, kIo (directory, no permission).
Result<std::string> read_text(const std::string& path);

std::string format_bytes(double bytes);                           // "768 B", "10.5 MiB"
std::string format_number(double value, int digits);              // `digits` after the point
std::string plural(std::size_t count, const std::string& thing);  // "1 block", "2 blocks"

}  // namespace cairn

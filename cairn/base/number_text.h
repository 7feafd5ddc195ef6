// SPDX-License-Identifier: Apache-2.0
// Figures as people read them, in messages and tables.
#pragma once

#include <cstddef>
#include <string>

namespace cairn {

std::string format_bytes(double bytes);                           // "768 B", "10.5 MiB"
std::string format_number(double value, int digits);              // `digits` after the point
std::string plural(std::size_t count, const std::string& thing);  // "1 block", "2 blocks"

}  // namespace cairn

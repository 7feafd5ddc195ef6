// SPDX-License-Identifier: Apache-2.0
// Columns on standard output: the first flush left, the others flush right.
#pragma once

#include <string>
#include <vector>

namespace cairn {

// The first row is the head. Rows may not be longer than the head.
std::string format_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace cairn

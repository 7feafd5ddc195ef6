// SPDX-License-Identifier: Apache-2.0
// The page's style sheet: one for screens in light and dark, and for paper.
#pragma once

#include <string_view>

namespace cairn {

std::string_view report_style();

}  // namespace cairn

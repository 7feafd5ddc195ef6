// SPDX-License-Identifier: Apache-2.0
// Cutting a long text around a needle.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace cairn::cli {

struct CutHaystack {
  std::string text;
  double depth = 0;  // where the needle's line begins, in [0, 1)
  bool cut = false;
};

// The text with whole lines left out, so that fits(text) holds: the first line and the needle's stay, and of the others
// those nearest to the needle, as many before and after it as keep its relative depth. Empty when not even these two
// lines fit, or the needle is nowhere. `fits` must not become true by adding lines.
CutHaystack cut_haystack(std::string_view text, std::string_view needle,
                         const std::function<bool(const std::string&)>& fits);

}  // namespace cairn::cli

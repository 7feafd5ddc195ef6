// SPDX-License-Identifier: Apache-2.0
// Where the names of points go so that they can be read.
#pragma once

#include <optional>
#include <vector>

namespace cairn {

struct LabelBox {
  double x = 0, y = 0, width = 0, height = 0;  // x, y: the upper left corner

  bool overlaps(const LabelBox& other, double gap = 0) const;
};

struct LabelRequest {
  double x = 0, y = 0;  // the point
  double width = 0, height = 0;
};

// A box for each request, in their order: within `bounds`, over no other label and no box of `marks`, rather over none
// of `lines`, near its point. Nothing: there is no room. Greedy, so the requests that matter come first.
std::vector<std::optional<LabelBox>> place_labels(const std::vector<LabelRequest>& requests, const LabelBox& bounds,
                                                  const std::vector<LabelBox>& marks,
                                                  const std::vector<LabelBox>& lines);

}  // namespace cairn

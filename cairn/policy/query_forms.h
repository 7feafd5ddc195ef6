// SPDX-License-Identifier: Apache-2.0
// What a reader asks with in place of a query as it is. Functions without state that may be called from any thread; the
// same arguments give the same result.
#pragma once

#include <cstdint>
#include <span>

namespace cairn {

// Our reading of ActQKV's probe query (Xiao et al. 2025, arXiv 2502.13542, which gives no formula that we know of): the
// queries of a window, weighted by how far each deviates from the others. With the mean and the deviation of each
// channel over the window, a query's bias is the mean of its squared deviations in units of these, and weights are the
// softmax of biases. `window` points to queries of one head, [dim] each; the probe is [dim]. A channel that does not
// vary says nothing. Requires: a query.
void probe_query(std::span<const float* const> window, std::uint32_t dim, float* probe);

// SparQ (Ribar et al. 2023, arXiv 2312.04985): of the query heads of one KV head, q [heads, dim], only the `count`
// channels stay whose magnitudes, summed over the heads, are greatest; equal ones by their number. The others become
// zero. What stays of a head is multiplied by the root of the share of |q| that stays, inverted, so that its products
// are as wide as those of the whole query: softmax(q k / sqrt(share)).
void leave_top_channels(std::span<float> q, std::uint32_t dim, std::uint32_t count);

}  // namespace cairn

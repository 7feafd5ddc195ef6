// SPDX-License-Identifier: Apache-2.0
// The gains of the codecs of pq.cc. The trainer uses them too, so that centroids are made for the gains they will meet.
#pragma once

#include <cstdint>

#include "cairn/block/shape.h"
#include "cairn/codec/pq_table.h"

namespace cairn {

struct PqGains {
  std::uint8_t codes[kBlockTokens];  // small_scale.h
  float inverse[kBlockTokens];       // 0 for a gain of 0
};

// For one head of a block [head_dim, kBlockTokens], means included. A norm says too little: tokens with a few large
// channels, as the first of a text, need a gain that reaches them, so several are tried, and the one with the least
// error stays.
PqGains pq_gains(PqForm form, const PqTable& table, std::uint32_t head_dim, const float* by_channel);

}  // namespace cairn

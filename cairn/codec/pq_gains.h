// SPDX-License-Identifier: Apache-2.0
// A head of a block on its way into the codecs of pq.cc: means are taken off, and each token gets its gain. The trainer
// does the same, so that centroids are made for the gains they will meet.
#pragma once

#include <cstdint>

#include "cairn/block/shape.h"
#include "cairn/codec/pq_table.h"
#include "cairn/kernels/codes.h"

namespace cairn {

// Of pq4: the levels of each channel and where the nearest changes, in units of the gain.
struct PqLevels {
  alignas(64) float levels[kMaxChannels * kPqLevels];
  alignas(64) float bounds[kMaxChannels * (kPqLevels - 1)];

  PqLevels(const PqTable& table, std::uint32_t head_dim);
};

// Large; on the stack of an encoder. A norm says too little about a gain: tokens with a few large channels, as the
// first of a text, need one that reaches them, so several are tried, and the one with the least error stays.
class PqHead {
 public:
  // by_channel: [head_dim, kBlockTokens].
  PqHead(const PqTable& table, std::uint32_t head_dim, const float* by_channel);

  void choose_gains(const PqLevels& levels);  // for pq4
  void choose_gains(const PqTable& table);    // for pq4-256

  // Codes [head_dim, kBlockTokens] of pq4, for the gains that were chosen.
  void write_codes(const PqLevels& levels, std::uint8_t* codes) const;
  // Codes [kBlockTokens] of one pair of channels of pq4-256.
  void write_codes(const PqTable& table, std::uint32_t pair, std::uint8_t* codes) const;

  const std::uint8_t* gains() const { return gains_; }  // [kBlockTokens], small_scale.h

 private:
  template <class Error>
  void choose(int below, int above, const Error& error_of);
  // Squared distances of one pair from its nearest centroids, in units of the gain.
  void nearest(const PqTable& table, std::uint32_t pair, const float* inverse, std::uint8_t* codes,
               float* distance) const;

  std::uint32_t dim_;
  std::uint8_t gains_[kBlockTokens];
  alignas(64) float centred_[kMaxChannels * kBlockTokens];
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// The codebook of the codecs of pq.cc, and a head of a block on its way into them. The codebook of one layer and slot
// has for each KV head, in turn:
//
//   mean   [head_dim] f32    K[t, d] = mean[d] + gain[t] * scale[d] * (level - 127.5)
//   scale  [head_dim] f32
//   levels, bytes            pq4: [head_dim rounded up to 16][16], ascending in each channel;
//                            pq4-256: [head_dim / 2][256][2], the two channels of a centroid side by side
//
// Centroids are bytes because the fused kernels multiply bytes; a scale for each channel makes eight bits plenty. Any
// bytes are a table: wrong ones give wrong numbers and nothing worse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "cairn/block/shape.h"
#include "cairn/kernels/codes.h"

namespace cairn::codecs {

inline constexpr std::uint32_t kPqLevels = 16;      // centroids of a channel in pq4
inline constexpr std::uint32_t kPqCentroids = 256;  // centroids of a pair of channels in pq4-256
inline constexpr float kPqMiddle = 127.5f;

enum class PqForm : std::uint8_t { kChannels, kPairs };

inline constexpr std::uint32_t kPq4Id = 64, kPq4PairsId = 65;

// Nothing for a codec that has no such tables.
constexpr std::optional<PqForm> pq_form(std::uint32_t codec_id) {
  if (codec_id == kPq4Id) return PqForm::kChannels;
  if (codec_id == kPq4PairsId) return PqForm::kPairs;
  return std::nullopt;
}

// Of one head. Requires of the table: the alignment of a float.
struct PqTable {
  const float* mean;
  const float* scale;
  const std::uint8_t* levels;
};

// Bytes of levels of one head; a multiple of 16.
constexpr std::size_t pq_level_bytes(PqForm form, std::uint32_t head_dim) {
  return form == PqForm::kChannels ? std::size_t{(head_dim + 15) / 16 * 16} * kPqLevels
                                   : std::size_t{head_dim / 2} * kPqCentroids * 2;
}

constexpr std::size_t pq_head_bytes(PqForm form, std::uint32_t head_dim) {
  return 2 * sizeof(float) * std::size_t{head_dim} + pq_level_bytes(form, head_dim);
}

inline PqTable pq_table(PqForm form, std::uint32_t head_dim, std::uint32_t kv_head, const std::byte* table) {
  const std::byte* head = table + kv_head * pq_head_bytes(form, head_dim);
  const auto* floats = reinterpret_cast<const float*>(head);
  return {.mean = floats,
          .scale = floats + head_dim,
          .levels = reinterpret_cast<const std::uint8_t*>(floats + 2 * std::size_t{head_dim})};
}

constexpr float pq_level(std::uint8_t level) {
  return static_cast<float>(level) - kPqMiddle;
}

// Of pq4-256: the centroids of a pair of channels [kPqCentroids, 2], in units of the gain.
inline void pq_points(const PqTable& table, std::uint32_t pair, float* points) {
  const std::uint8_t* levels = table.levels + std::size_t{pair} * kPqCentroids * 2;
  for (std::uint32_t i = 0; i < 2 * kPqCentroids; ++i) points[i] = table.scale[2 * pair + i % 2] * pq_level(levels[i]);
}

// Of pq4: the levels of each channel and where the nearest changes, in units of the gain.
struct PqLevels {
  alignas(64) float levels[kMaxChannels * kPqLevels];
  alignas(64) float bounds[kMaxChannels * (kPqLevels - 1)];

  PqLevels(const PqTable& table, std::uint32_t head_dim);
};

// A head without its means, and the gain of each token. The trainer makes the same, so that centroids are made for the
// gains they will meet. A norm says too little about a gain: tokens with a few large channels, as the first of a text,
// need one that reaches them, so several are tried, and the one with the least error stays. Large; on the stack of an
// encoder.
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

  const std::uint8_t* gains() const { return gains_; }  // [kBlockTokens], small scales

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

}  // namespace cairn::codecs

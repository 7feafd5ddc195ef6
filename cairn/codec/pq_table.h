// SPDX-License-Identifier: Apache-2.0
// The codebook of the codecs of pq.cc, for one layer and side. For each KV head, in turn:
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

namespace cairn {

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

}  // namespace cairn

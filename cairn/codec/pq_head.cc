// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/pq_head.h"

#include <algorithm>
#include <cmath>

#include "cairn/codec/head_quantizer.h"
#include "cairn/kernels/kernels.h"

namespace cairn::codecs {
namespace {

// Gains are tried around the norm, or around what brings the largest value this near to the outermost centroid: steps
// of small scales, 6 to 13 % each. Half as many cost a tenth of the mean KL on the demo model; a search among 256
// centroids takes its time.
constexpr float kReach = 0.8f;
constexpr int kBelow = 2, kAbove = 3, kBelowPairs = 1, kAbovePairs = 2;

struct Scales {
  float scale[kBlockTokens], inverse[kBlockTokens];

  explicit Scales(const std::uint8_t* codes) {
    widen_small_scales(codes, kBlockTokens, scale);
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) inverse[t] = scale[t] > 0.0f ? 1.0f / scale[t] : 0.0f;
  }
};

}  // namespace

PqLevels::PqLevels(const PqTable& table, std::uint32_t head_dim) {
  for (std::uint32_t d = 0; d < head_dim; ++d) {
    float* own = levels + std::size_t{d} * kPqLevels;
    for (std::uint32_t k = 0; k < kPqLevels; ++k) own[k] = table.scale[d] * pq_level(table.levels[d * kPqLevels + k]);
    for (std::uint32_t k = 0; k + 1 < kPqLevels; ++k) bounds[d * (kPqLevels - 1) + k] = 0.5f * (own[k] + own[k + 1]);
  }
}

PqHead::PqHead(const PqTable& table, std::uint32_t head_dim, const float* by_channel) : dim_(head_dim) {
  alignas(64) float squares[kBlockTokens] = {}, largest[kBlockTokens] = {};
  for (std::uint32_t d = 0; d < dim_; ++d) {
    const float mean = table.mean[d], span = kPqMiddle * table.scale[d], inverse = span > 0.0f ? kReach / span : 0.0f;
    const float* row = by_channel + std::size_t{d} * kBlockTokens;
    float* centred = centred_ + std::size_t{d} * kBlockTokens;
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
      centred[t] = row[t] - mean;
      squares[t] += centred[t] * centred[t];
      const float reach = std::fabs(centred[t]) * inverse;
      largest[t] = largest[t] < reach ? reach : largest[t];
    }
  }
  for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
    gains_[t] = small_scale_nearest(std::max(largest[t], std::sqrt(squares[t] / static_cast<float>(dim_))));
  }
}

template <class Error>
void PqHead::choose(int below, int above, const Error& error_of) {
  std::uint8_t start[kBlockTokens], tried[kBlockTokens];
  float least[kBlockTokens], error[kBlockTokens];
  std::fill_n(least, kBlockTokens, INFINITY);
  std::copy_n(gains_, kBlockTokens, start);
  for (int step = -below; step <= above; ++step) {
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
      tried[t] = static_cast<std::uint8_t>(std::clamp(start[t] + step, 0, int{kMaxSmallScale}));
    }
    error_of(Scales(tried), error);
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
      gains_[t] = error[t] < least[t] ? tried[t] : gains_[t];
      least[t] = error[t] < least[t] ? error[t] : least[t];
    }
  }
}

void PqHead::choose_gains(const PqLevels& levels) {
  choose(kBelow, kAbove, [&](const Scales& scales, float* error) {
    kernels().level_error(centred_, dim_, kBlockTokens, levels.bounds, levels.levels, scales.inverse, scales.scale,
                          error);
  });
}

void PqHead::choose_gains(const PqTable& table) {
  choose(kBelowPairs, kAbovePairs, [&](const Scales& scales, float* error) {
    std::fill_n(error, kBlockTokens, 0.0f);
    for (std::uint32_t pair = 0; pair < dim_ / 2; ++pair) {
      std::uint8_t codes[kBlockTokens];
      float distance[kBlockTokens];
      nearest(table, pair, scales.inverse, codes, distance);
      for (std::uint32_t t = 0; t < kBlockTokens; ++t) error[t] += distance[t] * scales.scale[t] * scales.scale[t];
    }
  });
}

void PqHead::write_codes(const PqLevels& levels, std::uint8_t* codes) const {
  kernels().quantise_levels(centred_, dim_, kBlockTokens, levels.bounds, Scales(gains_).inverse, codes);
}

void PqHead::write_codes(const PqTable& table, std::uint32_t pair, std::uint8_t* codes) const {
  float distance[kBlockTokens];
  nearest(table, pair, Scales(gains_).inverse, codes, distance);
}

void PqHead::nearest(const PqTable& table, std::uint32_t pair, const float* inverse, std::uint8_t* codes,
                     float* distance) const {
  float units[2][kBlockTokens], points[2 * kPqCentroids];
  for (std::uint32_t i = 0; i < 2; ++i) {
    const float* row = centred_ + (std::size_t{2} * pair + i) * kBlockTokens;
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) units[i][t] = row[t] * inverse[t];
  }
  pq_points(table, pair, points);
  kernels().nearest_points(units[0], units[1], kBlockTokens, points, kPqCentroids, codes, distance);
}

}  // namespace cairn::codecs

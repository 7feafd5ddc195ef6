// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/pq_gains.h"

#include <algorithm>
#include <cmath>

#include "cairn/codec/small_scale.h"
#include "cairn/kernels/codes.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace {

// Gains are tried around the norm, or around what brings the largest value this near to the outermost centroid: steps
// of small_scale.h, 6 to 13 % each. Half as many cost a tenth of the mean KL on the demo model.
constexpr float kReach = 0.8f;
constexpr int kBelow = 2, kAbove = 3;

struct Centred {
  alignas(64) float rows[kMostChannels * kBlockTokens];
  float start[kBlockTokens];  // a first guess at the gains
};

void centre(const PqTable& table, std::uint32_t dim, const float* by_channel, Centred& to) {
  alignas(64) float squares[kBlockTokens] = {}, largest[kBlockTokens] = {};
  for (std::uint32_t d = 0; d < dim; ++d) {
    const float mean = table.mean[d], span = kPqMiddle * table.scale[d], inverse = span > 0.0f ? kReach / span : 0.0f;
    const float* row = by_channel + std::size_t{d} * kBlockTokens;
    float* centred = to.rows + std::size_t{d} * kBlockTokens;
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
      centred[t] = row[t] - mean;
      squares[t] += centred[t] * centred[t];
      const float reach = std::fabs(centred[t]) * inverse;
      largest[t] = largest[t] < reach ? reach : largest[t];
    }
  }
  for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
    to.start[t] = std::max(largest[t], std::sqrt(squares[t] / static_cast<float>(dim)));
  }
}

struct Scales {
  float scale[kBlockTokens], inverse[kBlockTokens];

  explicit Scales(const std::uint8_t* codes) {
    widen_small_scales(codes, kBlockTokens, scale);
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) inverse[t] = scale[t] > 0.0f ? 1.0f / scale[t] : 0.0f;
  }
};

// What each token would lose.
class ChannelError {
 public:
  ChannelError(const PqTable& table, std::uint32_t dim) : dim_(dim) {
    for (std::uint32_t d = 0; d < dim; ++d) {
      for (std::uint32_t k = 0; k < kPqLevels; ++k) {
        levels_[d * kPqLevels + k] = table.scale[d] * pq_level(table.levels[d * kPqLevels + k]);
        if (k + 1 < kPqLevels) bounds_[d * (kPqLevels - 1) + k] = pq_bound(table, d, k);
      }
    }
  }

  void operator()(const float* x, const Scales& scales, float* error) const {
    kernels().level_error(x, dim_, kBlockTokens, bounds_, levels_, scales.inverse, scales.scale, error);
  }

 private:
  std::uint32_t dim_;
  alignas(64) float levels_[kMostChannels * kPqLevels];
  alignas(64) float bounds_[kMostChannels * (kPqLevels - 1)];
};

class PairError {
 public:
  PairError(const PqTable& table, std::uint32_t dim) : table_(table), dim_(dim) {}

  void operator()(const float* x, const Scales& scales, float* error) const {
    std::fill_n(error, kBlockTokens, 0.0f);
    for (std::uint32_t d = 0; d < dim_; d += 2) {
      float units[2][kBlockTokens], points[2 * kPqCentroids], distance[kBlockTokens];
      for (std::uint32_t i = 0; i < 2; ++i) {
        for (std::uint32_t t = 0; t < kBlockTokens; ++t)
          units[i][t] = x[(d + i) * kBlockTokens + t] * scales.inverse[t];
      }
      pq_points(table_, d / 2, points);
      std::uint8_t nearest[kBlockTokens];
      kernels().nearest_points(units[0], units[1], kBlockTokens, points, kPqCentroids, nearest, distance);
      for (std::uint32_t t = 0; t < kBlockTokens; ++t) error[t] += distance[t] * scales.scale[t] * scales.scale[t];
    }
  }

 private:
  PqTable table_;
  std::uint32_t dim_;
};

template <class Error>
void choose(const Error& error_of, const Centred& centred, std::uint8_t* best) {
  std::uint8_t start[kBlockTokens], tried[kBlockTokens];
  float least[kBlockTokens], error[kBlockTokens];
  std::fill_n(least, kBlockTokens, INFINITY);
  for (std::uint32_t t = 0; t < kBlockTokens; ++t) best[t] = start[t] = small_scale_nearest(centred.start[t]);
  for (int step = -kBelow; step <= kAbove; ++step) {
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
      tried[t] = static_cast<std::uint8_t>(std::clamp(start[t] + step, 0, int{kMostSmallScale}));
    }
    error_of(centred.rows, Scales(tried), error);
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
      best[t] = error[t] < least[t] ? tried[t] : best[t];
      least[t] = error[t] < least[t] ? error[t] : least[t];
    }
  }
}

}  // namespace

PqGains pq_gains(PqForm form, const PqTable& table, std::uint32_t head_dim, const float* by_channel) {
  Centred centred;
  centre(table, head_dim, by_channel, centred);
  PqGains gains;
  if (form == PqForm::kChannels) {
    choose(ChannelError(table, head_dim), centred, gains.codes);
  } else {
    choose(PairError(table, head_dim), centred, gains.codes);
  }
  std::copy_n(Scales(gains.codes).inverse, kBlockTokens, gains.inverse);
  return gains;
}

}  // namespace cairn

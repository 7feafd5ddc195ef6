// SPDX-License-Identifier: Apache-2.0
#include "cairn/block/rope.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>

#include "cairn/base/check.h"

namespace cairn {
namespace {

// The pair index (not rounded) that turns `turns` times over the original context.
double pair_of_turns(const RopeSpec& spec, double turns) {
  return spec.dims * std::log(spec.original_context / (turns * 2.0 * std::numbers::pi)) / (2.0 * std::log(spec.base));
}

// YaRN: 1 where a pair keeps its angle, 0 where it is interpolated, a straight ramp between. The bounds are rounded
// outwards, and clamped to channel numbers as the reference implementations do, although they count pairs.
class YarnRamp {
 public:
  explicit YarnRamp(const RopeSpec& spec)
      : low_(std::max(0.0, std::floor(pair_of_turns(spec, spec.beta_fast)))),
        high_(std::min(spec.dims - 1.0, std::ceil(pair_of_turns(spec, spec.beta_slow)))) {}

  double at(std::uint32_t pair) const {
    return 1.0 - std::clamp((pair - low_) / std::max(0.001, high_ - low_), 0.0, 1.0);
  }

 private:
  double low_;
  double high_;
};

std::string exact(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%a", value);
  return text;
}

void turn_pair(float& a, float& b, float cos, float sin) {
  const float turned = a * cos - b * sin;
  b = a * sin + b * cos;
  a = turned;
}

}  // namespace

std::vector<double> RopeSpec::inverse_frequencies() const {
  std::vector<double> frequencies(dims / 2);
  for (std::uint32_t pair = 0; pair < frequencies.size(); ++pair) {
    const double divisor = freq_factors.empty() ? 1.0 : static_cast<double>(freq_factors[pair]);
    frequencies[pair] = std::pow(base, -2.0 * pair / dims) / divisor;
  }
  if (scaling == RopeScaling::kLinear) {
    for (double& frequency : frequencies) frequency /= factor;
  } else if (scaling == RopeScaling::kYarn) {
    const YarnRamp ramp(*this);
    for (std::uint32_t pair = 0; pair < frequencies.size(); ++pair) {
      const double keep = ramp.at(pair) * ext_factor;
      frequencies[pair] = frequencies[pair] / factor * (1.0 - keep) + frequencies[pair] * keep;
    }
  }
  return frequencies;
}

double RopeSpec::magnitude() const {
  if (scaling != RopeScaling::kYarn || ext_factor == 0.0) return attn_factor;
  return attn_factor * (1.0 + 0.1 * std::log(factor));
}

std::string canonical_rope(const RopeSpec& rope) {
  std::string text = rope.pairing == RopePairing::kNeighbours ? "neighbours" : "halves";
  text += " dims=" + std::to_string(rope.dims);
  if (rope.first != 0) text += " first=" + std::to_string(rope.first);
  text += " base=" + exact(rope.base);
  text += " scaling=" + std::to_string(static_cast<int>(rope.scaling)) + " factor=" + exact(rope.factor);
  text += " original=" + std::to_string(rope.original_context) + " attn=" + exact(rope.attn_factor);
  text += " ext=" + exact(rope.ext_factor) + " beta=" + exact(rope.beta_fast) + "," + exact(rope.beta_slow);
  for (const float factor : rope.freq_factors) text += " " + exact(factor);
  return text;
}

void rope_cos_sin(std::span<const double> frequencies, double magnitude, std::int64_t position, std::span<float> cos,
                  std::span<float> sin) {
  CAIRN_CHECK(cos.size() == frequencies.size() && sin.size() == frequencies.size());
  for (std::size_t pair = 0; pair < frequencies.size(); ++pair) {
    const double angle = static_cast<double>(position) * frequencies[pair];
    cos[pair] = static_cast<float>(std::cos(angle) * magnitude);
    sin[pair] = static_cast<float>(std::sin(angle) * magnitude);
  }
}

void rope_cos_sin(const RopeSpec& spec, std::int64_t position, std::span<float> cos, std::span<float> sin) {
  rope_cos_sin(spec.inverse_frequencies(), spec.magnitude(), position, cos, sin);
}

RopeShift::RopeShift(const RopeSpec& spec, std::int64_t from, std::int64_t to)
    : pairing_(spec.pairing), first_(spec.first), moves_(from != to), cos_(spec.dims / 2), sin_(spec.dims / 2) {
  rope_cos_sin(spec.inverse_frequencies(), /*magnitude=*/1.0, to - from, cos_, sin_);
}

void RopeShift::apply(std::span<float> keys, std::uint32_t head_dim) const {
  CAIRN_DCHECK(head_dim >= first_ + 2 * cos_.size() && keys.size() % head_dim == 0);
  if (!moves_) return;
  const std::size_t pairs = cos_.size();
  for (std::size_t at = first_; at < keys.size(); at += head_dim) {
    float* head = keys.data() + at;
    for (std::size_t i = 0; i < pairs; ++i) {
      if (pairing_ == RopePairing::kNeighbours) {
        turn_pair(head[2 * i], head[2 * i + 1], cos_[i], sin_[i]);
      } else {
        turn_pair(head[i], head[i + pairs], cos_[i], sin_[i]);
      }
    }
  }
}

}  // namespace cairn

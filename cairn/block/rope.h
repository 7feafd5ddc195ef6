// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding: everything that decides the angle by which a pair of channels turns at a position.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace cairn {

// Which of the `dims` rotary channels turn together, for pair i.
enum class RopePairing : std::uint8_t {
  kNeighbours,  // 2i and 2i + 1
  kHalves,      // i and i + dims / 2
};

enum class RopeScaling : std::uint8_t { kNone, kLinear, kYarn };

// A value: copied freely, thread-safe while it is not written. Part of a model's identity: two models whose specs
// differ never share cached keys.
struct RopeSpec {
  std::uint32_t dims = 0;   // rotary channels of a head, even; the others do not turn
  std::uint32_t first = 0;  // channels of a head before the rotary ones
  RopePairing pairing = RopePairing::kNeighbours;
  double base = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;                 // linear, YaRN: context is stretched by this
  std::uint32_t original_context = 0;  // YaRN: what the model was trained on before stretching
  double attn_factor = 1.0;            // multiplies cos and sin under every scaling
  double ext_factor = 1.0;             // YaRN: weight of the extrapolated angles; 0 makes YaRN plain interpolation
  double beta_fast = 32.0;             // YaRN: pairs that turn more often than this over the original context keep
  double beta_slow = 1.0;              // their angle; those that turn less often than this are interpolated
  std::vector<float> freq_factors{};   // [dims / 2] divisors of the frequencies, or empty

  bool operator==(const RopeSpec&) const = default;

  // Radians per position of every pair, [dims / 2].
  std::vector<double> inverse_frequencies() const;
  // What cos and sin are multiplied by.
  double magnitude() const;
};

// One text for one specification, numbers in hexadecimal floating point so that none is rounded.
std::string canonical_rope(const RopeSpec& rope);

// cos and sin of every pair at `position`, angles in double, results rounded once to float, times the magnitude.
// Requires: cos and sin have one entry per entry of `frequencies`.
void rope_cos_sin(std::span<const double> frequencies, double magnitude, std::int64_t position, std::span<float> cos,
                  std::span<float> sin);
// The same from a spec; computes the frequencies anew, so loops over positions keep them instead.
void rope_cos_sin(const RopeSpec& spec, std::int64_t position, std::span<float> cos, std::span<float> sin);

// Takes keys that were rotated at one position to another one, as if they had been rotated there: the rest of the angle
// is computed in double from where the keys were rotated first, so that moving twice costs no more than moving once.
// The magnitude stays: the keys have it already. Immutable and thread-safe.
class RopeShift {
 public:
  RopeShift(const RopeSpec& spec, std::int64_t from, std::int64_t to);

  // `keys` are heads [n, head_dim], in place; where from equals to, no bit changes. Requires: head_dim >= spec.first +
  // spec.dims.
  void apply(std::span<float> keys, std::uint32_t head_dim) const;

 private:
  RopePairing pairing_;
  std::uint32_t first_;
  bool moves_;
  std::vector<float> cos_, sin_;  // of the way between, by pair
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding: everything that decides the angle by which a pair of channels turns at a position.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

// Which channels of the first `dims` turn together, for pair i.
enum class RopePairing : std::uint8_t {
  kNeighbours,  // 2i and 2i + 1
  kHalves,      // i and i + dims / 2
};

enum class RopeScaling : std::uint8_t { kNone, kLinear, kYarn };

// A value: copied freely, thread-safe while nobody writes. Part of a model's identity: two models whose specs differ
// never share cached keys.
struct RopeSpec {
  std::uint32_t dims = 0;  // rotary channels of a head, even; those after them do not turn
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

// Reads `<arch>.rope.*` and the tensor rope_freqs.weight. `head_dim` is the default of dims, `context` of
// original_context. Errors: kCorrupt (values without meaning), kUnsupported (a scaling other than none, linear, yarn).
Result<RopeSpec> read_rope_spec(const GgufFile& file, std::string_view arch, RopePairing pairing,
                                std::uint32_t head_dim, std::uint32_t context);

// cos and sin of every pair at `position`, angles in double, results rounded once to float, times the magnitude.
// Requires: cos and sin have one entry per entry of `frequencies`.
void rope_cos_sin(std::span<const double> frequencies, double magnitude, std::int64_t position, std::span<float> cos,
                  std::span<float> sin);
// The same from a spec; computes the frequencies anew, so loops over positions keep them instead.
void rope_cos_sin(const RopeSpec& spec, std::int64_t position, std::span<float> cos, std::span<float> sin);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/rotations.h"

#include <algorithm>

#include "cairn/kernels/kernels.h"

namespace cairn {

Rotations::Rotations(std::span<const LayerSpec> layers) {
  for (const LayerSpec& layer : layers) {
    const auto known = std::ranges::find(rotations_, layer.rope, &Rotation::spec);
    of_layer_.push_back(static_cast<std::size_t>(known - rotations_.begin()));
    if (known == rotations_.end()) rotations_.push_back({layer.rope, layer.rope.inverse_frequencies()});
  }
}

void Rotations::prepare(std::span<const std::int32_t> positions, ThreadPool& pool) {
  for (Rotation& rotation : rotations_) {
    const std::size_t pairs = rotation.frequencies.size();
    rotation.cos.ensure(positions.size() * pairs);
    rotation.sin.ensure(positions.size() * pairs);
  }
  pool.run(positions.size(), [&](std::size_t r, unsigned) {
    for (Rotation& rotation : rotations_) {
      const std::size_t pairs = rotation.frequencies.size();
      rope_cos_sin(rotation.frequencies, rotation.spec.magnitude(), positions[r],
                   {rotation.cos.data() + r * pairs, pairs}, {rotation.sin.data() + r * pairs, pairs});
    }
  });
}

void Rotations::turn(std::uint32_t layer, std::size_t row, float* head) const {
  const Rotation& rotation = rotations_[of_layer_[layer]];
  const std::size_t pairs = rotation.frequencies.size();
  const bool neighbours = rotation.spec.pairing == RopePairing::kNeighbours;
  const auto rotate = neighbours ? kernels().rope_neighbours : kernels().rope_halves;
  rotate(head + rotation.spec.first, rotation.cos.data() + row * pairs, rotation.sin.data() + row * pairs, pairs);
}

}  // namespace cairn

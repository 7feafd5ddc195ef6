// SPDX-License-Identifier: Apache-2.0
// What each layer of a model is to its KV cache. Layers of one model may be unlike: in their heads, in how far back
// they see, in how they rotate, and some read the keys and values of another layer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/block/rope.h"
#include "cairn/block/shape.h"

namespace cairn {

// A value.
struct LayerSpec {
  PageShape shape{};
  std::uint32_t window = 0;   // a query sees this many positions, its own the last of them; 0: all up to its own
  RopeSpec rope{};            // by which the keys of this layer are rotated
  std::uint32_t kv_map = 0;   // the layer whose keys and values it reads: its own index, or that of an earlier one
  std::uint32_t weights = 0;  // the layer whose weights it computes with: its own index unless layers share them

  bool operator==(const LayerSpec&) const = default;
};

// Layers that all have the same shape and rotation, no window, and keys, values and weights of their own.
std::vector<LayerSpec> like_layers(std::uint32_t count, PageShape shape, const RopeSpec& rope = {});

// kInvalidArgument for no layers, empty shapes, values that no key can hold, and a layer that reads the keys and values
// of a later layer, of one that has none of its own, or of one with another shape.
Status check_layers(std::span<const LayerSpec> layers);

// How these layers differ from like_layers(layers.size(), layers[0].shape, layers[0].rope) with values of their own:
// one text for one meaning, empty when they do not. It is part of the recipe.
std::string unlike_layers(std::span<const LayerSpec> layers);

}  // namespace cairn

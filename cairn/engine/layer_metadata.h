// SPDX-License-Identifier: Apache-2.0
// How the layers of a model differ: which of them see a window only, how those rotate, and which do
// not rotate at all.
#pragma once

#include <cstdint>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/block/layer_spec.h"
#include "cairn/engine/architecture.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

// What layers have in common.
struct LikeLayers {
  std::uint32_t count = 0;
  PageShape shape{};
  RopeSpec rope{};  // of those that see everything
};

// Reads `<arch>.attention.sliding_window`, its pattern (a number n: of n layers the last one sees everything; or an
// array with true for each layer that has the window) and the base by which layers with a window rotate.
// Errors: kCorrupt (values without meaning).
Result<std::vector<LayerSpec>> read_layers(const GgufFile& file, const Architecture& arch, const LikeLayers& like);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// What a model file says of its experts.
#pragma once

#include <cstdint>

#include "cairn/base/result.h"
#include "cairn/engine/architecture.h"
#include "cairn/engine/metadata_reader.h"
#include "cairn/engine/model_config.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

// Reads `<arch>.expert_*` into config.experts. Requires: config has its width, layers and feed-forward. Errors:
// kNotFound (an architecture that always has experts names none), kCorrupt (numbers that contradict each other),
// kUnsupported (a gate that is not computed here).
Status read_experts(const GgufFile& file, const Architecture& arch, ModelConfig& config);

// How many layers, from the first on, have a feed-forward of their own instead of the mixture: all of a model without
// experts. Errors: kCorrupt.
Result<std::uint32_t> read_dense_layers(const MetadataReader& reader, const ModelConfig& config);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// How a model file says that keys and queries are rotated.
#pragma once

#include <cstdint>
#include <string_view>

#include "cairn/base/result.h"
#include "cairn/block/rope.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

// Reads `<arch>.rope.*` and the tensor rope_freqs.weight. `head_dim` is the default of dims, `context` of
// original_context. Errors: kCorrupt (values without meaning), kUnsupported (a scaling other than none, linear, yarn).
Result<RopeSpec> read_rope_spec(const GgufFile& file, std::string_view arch, RopePairing pairing,
                                std::uint32_t head_dim, std::uint32_t context);

}  // namespace cairn

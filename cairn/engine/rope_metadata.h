// SPDX-License-Identifier: Apache-2.0
// How a model file says that keys and queries are rotated.
#pragma once

#include <cstdint>
#include <string_view>

#include "cairn/base/result.h"
#include "cairn/block/rope.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

// The tensors that RoPE may have.
inline constexpr std::string_view kRopeFactors[] = {"rope_freqs.weight", "rope_factors_long.weight",
                                                    "rope_factors_short.weight"};

// Reads `<arch>.rope.*` and the tensor rope_freqs.weight, or that of rope_factors_{long,short}.weight which the context
// asks for. `head_dim` is the default of dims, `context` of original_context. Errors: kCorrupt (values without
// meaning), kUnsupported (a scaling other than none, linear, yarn and longrope; keys of YaRN beside another one).
Result<RopeSpec> read_rope_spec(const GgufFile& file, std::string_view arch, RopePairing pairing,
                                std::uint32_t head_dim, std::uint32_t context);

}  // namespace cairn

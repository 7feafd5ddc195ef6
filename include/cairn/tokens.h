// SPDX-License-Identifier: Apache-2.0
// What texts are made of to a model.
#pragma once

#include <cstdint>

namespace cairn {

// The index of a token in its model's vocabulary.
using TokenId = std::int32_t;

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// The codecs by name; internal to the module. A new codec adds one line here and one row in table.cc.
#pragma once

#include "cairn/codec/codec.h"

namespace cairn {

extern const Codec kRawF16;
extern const Codec kRawBF16;
extern const Codec kRawF32;

}  // namespace cairn

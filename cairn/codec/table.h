// SPDX-License-Identifier: Apache-2.0
// The codecs by name; internal to the module. A new codec adds one line here and one row in table.cc.
#pragma once

#include "cairn/codec/codec.h"

namespace cairn {

extern const Codec kRawF16;
extern const Codec kRawBF16;
extern const Codec kRawF32;
extern const Codec kKivi4G32;
extern const Codec kKivi4G64;
extern const Codec kKivi2G32;
extern const Codec kKivi2G64;
extern const Codec kTok4Plain;
extern const Codec kTok4Mean;
extern const Codec kTok4Turned;
extern const Codec kTok4;
extern const Codec kTok8;
extern const Codec kZip;
extern const Codec kZipLow;
extern const Codec kPq4;
extern const Codec kPq4Pairs;

}  // namespace cairn

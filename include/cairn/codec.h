// SPDX-License-Identifier: Apache-2.0
// How keys and values may be kept (docs/codecs.md).
#pragma once

#include <string>
#include <vector>

#include "cairn/result.h"

namespace cairn {

// Every codec of this build, as ModelOptions::codec takes it.
std::vector<std::string> codec_names();

// Whether a text names codecs, or a plan file: "tok4", "tok8/tok4", "plan.toml", with parts as "+sinks=1". What a
// model's shape rules out is told when the model is loaded. Errors: kUnsupported, kInvalidArgument.
Status check_codec(const std::string& text);

}  // namespace cairn

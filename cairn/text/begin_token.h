// SPDX-License-Identifier: Apache-2.0
// A prompt that brings the begin token which it would get anyway.
#pragma once

#include <string_view>

#include "cairn/text/tokenizer.h"

namespace cairn {

// Whether `text` begins with a begin token where encode(text, options) puts one in front; encode() keeps one. Cheap, no
// matter how long the text is.
bool doubles_bos(const Tokenizer& tokenizer, std::string_view text, const EncodeOptions& options);

// What to tell then.
inline constexpr std::string_view kPromptDoublesBos =
    "the prompt begins with the begin token and the tokenizer would add one: one is kept";

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Finds special tokens inside a text. Part of the tokenizer.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "cairn/text/tokenizer_vocabulary.h"

namespace cairn {

// A stretch of raw text, or the special token that stood there.
struct TextFragment {
  std::string_view text;
  std::optional<TokenId> token;
};

// Cuts `text` into fragments that cover it. Longer tokens are found first wherever they stand, then the leftmost; with
// `parse_control` off only user-defined tokens count. An empty text has no fragments.
std::vector<TextFragment> split_at_specials(const Vocabulary& vocabulary, std::string_view text, bool parse_control);

}  // namespace cairn

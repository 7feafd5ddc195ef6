// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/begin_token.h"

#include <algorithm>
#include <vector>

namespace cairn {

bool doubles_bos(const Tokenizer& tokenizer, std::string_view text, const EncodeOptions& options) {
  if (!options.add_bos || !tokenizer.adds_bos()) return false;
  const std::string_view mark = tokenizer.token_text(*tokenizer.bos());
  if (mark.empty() || !text.starts_with(mark)) return false;
  // A longer token may begin with the same characters, so the start is encoded.
  EncodeOptions alone = options;
  alone.add_bos = false;
  const std::size_t enough = 2 * std::max(tokenizer.longest_token_bytes(), mark.size());
  return tokenizer.encode(text.substr(0, enough), alone).front() == tokenizer.bos();
}

}  // namespace cairn

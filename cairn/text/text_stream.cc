// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/text_stream.h"

#include <algorithm>
#include <utility>

namespace cairn {
namespace {

// Length of the longest end of `text` with which `stop` begins, all of it excluded.
std::size_t begun(std::string_view text, std::string_view stop) {
  for (std::size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (text.ends_with(stop.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

std::string_view TokenStream::next_bytes(TokenId id) {
  std::string_view bytes = tokenizer_->token_bytes(id);
  if (tokenizer_->is_special(id)) {
    drop_space_ = true;
    return options_.show_control ? tokenizer_->token_text(id) : bytes;
  }
  if (bytes.empty()) return bytes;
  if (drop_space_ && tokenizer_->adds_space_prefix() && bytes.front() == ' ') bytes.remove_prefix(1);
  drop_space_ = false;
  return bytes;
}

std::string StopMatcher::feed(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  // The one that is complete first, as if the text had come letter by letter; of two with the same last letter the
  // longer.
  std::size_t complete = std::string::npos, begins = 0, keep = 0;
  for (const std::string& stop : stops_) {
    if (stop.empty()) continue;
    keep = std::max(keep, begun(held_, stop));
    const std::size_t at = held_.find(stop);
    if (at == std::string::npos || std::pair(at + stop.size(), at) >= std::pair(complete, begins)) continue;
    complete = at + stop.size();
    begins = at;
  }
  if (complete != std::string::npos) {
    stopped_ = true;
    held_.resize(begins);
    return std::exchange(held_, {});
  }
  std::string certain = held_.substr(0, held_.size() - keep);
  held_.erase(0, certain.size());
  return certain;
}

}  // namespace cairn

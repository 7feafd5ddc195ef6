// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/windows.h"

#include <algorithm>
#include <string>
#include <utility>

namespace cairn {

Result<Windows> Windows::make(std::vector<TokenId> text, std::optional<TokenId> begin_token, const WindowSlices& plan) {
  if (plan.context < 2) return fail(ErrorCode::kInvalidArgument, "a window needs a context of at least 2 tokens");
  const bool overlap = plan.stride > 0 && plan.stride < plan.context;
  const std::uint32_t skip = plan.skip.value_or(overlap ? plan.context - plan.stride : plan.context / 2);
  if (skip >= plan.context - 1) {
    return fail(ErrorCode::kInvalidArgument, "skipping " + std::to_string(skip) + " of " +
                                                 std::to_string(plan.context) +
                                                 " tokens leaves none to predict; lower --skip");
  }
  if (text.size() < plan.context) {
    return fail(ErrorCode::kInvalidArgument, "the text has " + std::to_string(text.size()) +
                                                 " tokens, fewer than one window of " + std::to_string(plan.context) +
                                                 "; use a longer text or a smaller context");
  }
  Windows windows;
  windows.context_ = plan.context;
  windows.stride_ = plan.stride == 0 ? plan.context : plan.stride;
  windows.skip_ = skip;
  windows.begin_token_ = begin_token;
  windows.count_ = std::min((text.size() - plan.context) / windows.stride_ + 1, plan.max_windows);
  windows.text_ = std::move(text);
  return windows;
}

std::vector<TokenId> Windows::tokens(std::size_t window) const {
  const auto from = text_.begin() + static_cast<std::ptrdiff_t>(window * stride_);
  std::vector<TokenId> tokens(from, from + context_);
  if (begin_token_) tokens.front() = *begin_token_;
  return tokens;
}

}  // namespace cairn

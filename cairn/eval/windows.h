// SPDX-License-Identifier: Apache-2.0
// How a tokenised text is cut into windows whose later tokens are predicted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/block/block_key.h"

namespace cairn {

// Tokens of a window: [0, skip] are context only, each of (skip, context) is predicted from those before it. With a
// stride of `context` and a skip of half of it these are the windows of llama.cpp's perplexity tool.
struct WindowSlices {
  std::uint32_t context = 512;
  std::uint32_t stride = 0;             // from the begin of one window to that of the next; 0: context
  std::optional<std::uint32_t> skip{};  // default: context / 2
  std::size_t max_windows = static_cast<std::size_t>(-1);
};

// Views and copies of one text; immutable.
class Windows {
 public:
  // Errors: kInvalidArgument (context below 2, skip that leaves nothing to predict, text shorter than one window).
  static Result<Windows> make(std::vector<TokenId> text, std::optional<TokenId> begin_token, const WindowSlices& plan);

  std::size_t size() const { return count_; }
  std::uint32_t context() const { return context_; }
  std::uint32_t first_logits() const { return skip_; }                // the first token whose logits are judged
  std::uint32_t predictions() const { return context_ - 1 - skip_; }  // judged tokens of a window

  // [context]; the first token is the begin token where there is one.
  std::vector<TokenId> tokens(std::size_t window) const;

 private:
  Windows() = default;

  std::vector<TokenId> text_;
  std::optional<TokenId> begin_token_;
  std::uint32_t context_ = 0, stride_ = 0, skip_ = 0;
  std::size_t count_ = 0;
};

}  // namespace cairn

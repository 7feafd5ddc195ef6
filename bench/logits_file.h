// SPDX-License-Identifier: Apache-2.0
// The file that llama-perplexity writes with --kl-divergence-base: tokens and next-token distributions of one model.
//
// Little-endian: "_logits_" | i32 window | i32 vocab | i32 windows | i32 tokens[windows, window] | for each window the
// positions [window / 2, window - 1), each as u16[2 * ((vocab + 1) / 2) + 4]: two f32 (scale, floor), then one code per
// id with log probability = scale * code + floor. Code 0 is everything below e^-16 of the largest probability.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/block/block_key.h"

namespace cairn {

// Reads one window at a time, in order; thread-compatible.
class LogitsFile {
 public:
  // Errors: kNotFound, kCorrupt (not such a file, or its length contradicts its header).
  static Result<LogitsFile> open(const std::string& path);

  std::uint32_t windows() const { return windows_; }
  std::uint32_t vocab() const { return vocab_; }
  // The first position with a distribution; the last one is the last but one of the window.
  std::uint32_t first_position() const { return window_ / 2; }
  std::uint32_t positions_per_window() const { return window_ - 1 - window_ / 2; }

  std::span<const TokenId> tokens(std::uint32_t window) const {
    return std::span(tokens_).subspan(std::size_t{window} * window_, window_);
  }

  // Log probabilities [positions_per_window, vocab] of the next window; -infinity where the file only has the floor.
  // Errors: kIo.
  Status read_window(std::vector<float>& log_probabilities);

 private:
  LogitsFile() = default;

  std::ifstream file_;
  std::uint32_t window_ = 0, vocab_ = 0, windows_ = 0;
  std::vector<TokenId> tokens_;
  std::vector<std::uint16_t> row_;
};

}  // namespace cairn

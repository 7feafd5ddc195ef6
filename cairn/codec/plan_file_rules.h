// SPDX-License-Identifier: Apache-2.0
// What both the reader and the writer of plan files hold a plan to; internal to the module.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cairn/base/result.h"
#include "cairn/base/utf8.h"

namespace cairn {

inline constexpr std::uint32_t kPlanFileVersion = 1;
inline constexpr std::size_t kMaxPlanLayers = 4096;
inline constexpr std::uint32_t kMaxPlanBlocks = 1u << 20;  // of sinks and recent blocks
inline constexpr std::size_t kMaxPlanText = 4096;          // bytes of a text in quotes
inline constexpr std::size_t kMaxPlanFileBytes = std::size_t{1} << 20;

// Small letters, digits, "-", "_" and "."; they end up in messages and recipes.
constexpr bool is_codec_name(std::string_view text) {
  if (text.empty() || text.size() > 64) return false;
  for (const char c : text) {
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.') return false;
  }
  return true;
}

constexpr bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

// Well-formed UTF-8 without control characters, not longer than kMaxPlanText.
constexpr bool is_plan_text(std::string_view text) {
  if (text.size() > kMaxPlanText) return false;
  while (!text.empty()) {
    const std::size_t length = utf8_char_length(text);
    if (length == 0 || is_control(text.front())) return false;
    text.remove_prefix(length);
  }
  return true;
}

inline std::unexpected<Error> refuse_line(std::size_t line, const std::string& message) {
  return fail(ErrorCode::kInvalidArgument, "line " + std::to_string(line) + ": " + message);
}

// What a parser of TOML must not get to see. kInvalidArgument with the line.
Status check_plan_lines(std::string_view text);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// A template as tokens, with white space around tags removed as transformers asks for it: trim_blocks and
// lstrip_blocks are on.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"

namespace cairn::jinja {

enum class TokenKind : std::uint8_t {
  kData,           // text between tags
  kVariableBegin,  // {{
  kVariableEnd,
  kBlockBegin,  // {%
  kBlockEnd,
  kName,
  kString,   // text: what the literal stands for
  kInteger,  // text: the digits, with the prefix of their base
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text{};
  std::size_t line = 1;
};

// Ends with a kEnd. Errors: kInvalidArgument, "line N: ...".
Result<std::vector<Token>> tokenize(std::string_view source);

// "line N: what"
std::unexpected<Error> wrong_at(std::size_t line, std::string_view what);

}  // namespace cairn::jinja

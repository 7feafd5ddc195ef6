// SPDX-License-Identifier: Apache-2.0
// Little functions with a comment that says what they do, and questions that say the same in other words.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/eval/session.h"

namespace cairn {

struct Function {
  std::string comment;      // "sort small names"; empty where there are no more to tell apart
  std::string description;  // the same in other words: "order little labels"
  std::string code;         // "def kodo: river stone lamp"
};

inline constexpr std::size_t kBodyWords[] = {2, 3, 4, 6, 8};
inline constexpr std::size_t kDescriptions = 8 * 8 * 8;

// One function for every length of a body. The first kDescriptions have comments, all different.
std::vector<Function> make_functions(std::span<const std::size_t> body_words, SeededRandom& random);

// Its comment, if any, and its code; each is a line.
std::string function_lines(const Function& function);
// Requires: functions[asked] has a comment.
Turn ask_function(std::span<const Function> functions, std::size_t asked);

}  // namespace cairn

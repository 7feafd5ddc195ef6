// SPDX-License-Identifier: Apache-2.0
// Lines "The code of river is 5931." and the question for one of them.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/eval/session.h"

namespace cairn {

struct KeyValue {
  std::string key, value;
};

// Digits of a value, from short to long: long exact answers are the first to break.
inline constexpr std::size_t kValueWidths[] = {2, 4, 8, 16, 32};

// One pair with different keys for every width.
std::vector<KeyValue> make_key_values(std::span<const std::size_t> widths, SeededRandom& random);
std::string draw_digits(std::size_t count, SeededRandom& random);

std::string key_value_line(const KeyValue& pair);
Turn ask_value(const KeyValue& pair);

// `turns` of `choices`, as different as possible, in random order: what differs from turn to turn.
std::vector<std::size_t> spread_choices(std::span<const std::size_t> choices, std::size_t turns, SeededRandom& random);

}  // namespace cairn

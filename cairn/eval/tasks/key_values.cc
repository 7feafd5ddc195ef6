// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/tasks/key_values.h"

#include <utility>

#include "cairn/eval/tasks/question.h"
#include "cairn/eval/words.h"

namespace cairn {

std::vector<KeyValue> make_key_values(std::span<const std::size_t> widths, SeededRandom& random) {
  std::vector<KeyValue> pairs;
  std::vector<std::string> keys = draw_keys(widths.size(), random);
  for (std::size_t i = 0; i < widths.size(); ++i) {
    pairs.push_back({std::move(keys[i]), draw_digits(widths[i], random)});
  }
  return pairs;
}

std::string draw_digits(std::size_t count, SeededRandom& random) {
  std::string digits;
  for (std::size_t i = 0; i < count; ++i) digits += static_cast<char>('0' + random.below(10));
  return digits;
}

std::string key_value_line(const KeyValue& pair) {
  return "The code of " + pair.key + " is " + pair.value + ".\n";
}

Turn ask_value(const KeyValue& pair) {
  return make_question("What is the code of " + pair.key + "?", pair.value, {pair.value}, Metric::kExact);
}

std::vector<std::size_t> spread_choices(std::span<const std::size_t> choices, std::size_t turns, SeededRandom& random) {
  std::vector<std::size_t> order(choices.begin(), choices.end()), spread;
  random.shuffle(order);
  for (std::size_t turn = 0; turn < turns; ++turn) spread.push_back(order[turn % order.size()]);
  return spread;
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Counts what is done within one step: a method that reads a text of many bytes takes more than one step.
#pragma once

#include <cstddef>
#include <string_view>

#include "cairn/text/jinja/budget.h"
#include "cairn/text/jinja/value.h"

namespace cairn::jinja {

// While it lives, the functions below take steps from `budget`. One at a time per thread counts: the innermost.
class CountedWork {
 public:
  explicit CountedWork(Budget& budget);
  ~CountedWork();
  CountedWork(const CountedWork&) = delete;
  CountedWork& operator=(const CountedWork&) = delete;

 private:
  Budget* before_;
};

// Outside a rendering nothing is taken. Errors: kInvalidArgument once the steps are used up.
Status take_steps(std::size_t count);
// The same for functions that return no Status: false where that fails. They may then stop with any result, since the
// interpreter asks the budget after every expression.
bool count_steps(std::size_t count);
// For reading that many bytes, or a value's where it is a text.
bool count_bytes(std::size_t count);
bool count_text(const Value& value);

// The first and the last place of `part` in `text` at or behind `from`, else npos. They take time in proportion to both
// sizes, which the searches of std::string do not.
std::size_t find_first(std::string_view text, std::string_view part, std::size_t from = 0);
std::size_t find_last(std::string_view text, std::string_view part);

}  // namespace cairn::jinja

// SPDX-License-Identifier: Apache-2.0
// What Python's strings can do, on texts that remember who wrote them: whatever is cut, kept or turned to another case
// stays what it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/text/jinja/budget.h"
#include "cairn/text/jinja/text.h"

namespace cairn::jinja {

// Every byte belongs to a well-formed character.
bool is_utf8(std::string_view text);

Text upper(const Text& text);
Text lower(const Text& text);
Text capitalized(const Text& text);  // str.capitalize()
Text titled(const Text& text);       // str.title()
Text title_words(const Text& text);  // the filter `title`
Text swapped_case(const Text& text);

// Whole characters of `characters` are taken off the ends; of white space where it is null.
Text strip(const Text& text, const Text* characters, bool left, bool right);

// At most `limit` replacements; negative: all. Errors: kInvalidArgument for a limit of the budget.
Result<Text> replace(const Text& text, std::string_view old, const Text& replacement, std::int64_t limit,
                     Budget& budget);

// At most `limit` cuts; negative: all. Requires: the separator is not empty.
std::vector<Text> split(const Text& text, std::string_view separator, std::int64_t limit, bool from_right);
std::vector<Text> split_at_spaces(const Text& text, std::int64_t limit, bool from_right);
std::vector<Text> split_lines(const Text& text, bool keep_ends);

// With HTML's special characters as entities, marked as such. Errors: kInvalidArgument for a limit of the budget.
Result<Text> escaped(const Text& text, Budget& budget);

// Filled up to `width` characters. Errors: kInvalidArgument for a limit of the budget.
enum class Align : std::uint8_t { kLeft, kRight, kCenter };
Result<Text> padded(const Text& text, std::int64_t width, const Text& fill, Align align, Budget& budget);

}  // namespace cairn::jinja

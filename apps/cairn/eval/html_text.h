// SPDX-License-Identifier: Apache-2.0
// Text from files on its way into HTML: whatever it holds, it stays text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cairn {

// `text` for element content and for quoted attributes. Control characters and marks that reverse the writing
// direction of what follows become U+FFFD.
std::string html(std::string_view text);

// At most `most` characters: the middle gives way to an ellipsis, since recipes differ at both ends. Requires valid
// UTF-8 and most >= 3.
std::string shorten(std::string_view text, std::size_t most);

// A name as inline code, shortened to what fits in a table; hovering shows the whole.
std::string code_name(std::string_view name);

// The text in columns of a monospaced font: wide East Asian characters and emoji count twice.
std::size_t text_columns(std::string_view text);

// For error messages: printable ASCII, at most 60 characters.
std::string quote(std::string_view text);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/checked_toml.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "cairn/base/utf8.h"

namespace cairn {
namespace {

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
constexpr bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Of names and numbers.
constexpr bool is_bare(char c) {
  return is_letter(c) || is_digit(c) || std::string_view("_-+.").find(c) != std::string_view::npos;
}
// All there is outside of quotes.
constexpr bool is_syntax(char c) {
  return is_bare(c) || std::string_view("=,[] \t\r").find(c) != std::string_view::npos;
}

// What begins like a number in front of `text`. The parser looks for its end beyond brackets and quotes and at what
// they hold, and takes much for a date.
Status check_number(std::string_view text, std::size_t line) {
  std::size_t end = 1;
  int signs = 0;
  for (; end < text.size() && is_bare(text[end]); ++end) {
    if (text[end] != '-' && text[end] != '+') continue;
    const bool of_exponent = text[end - 1] == 'e' || text[end - 1] == 'E';
    if (!of_exponent || ++signs > 1)
      return refuse_toml_line(line, "this is no number; dates and times belong in quotes");
  }
  if (end < text.size() && std::string_view("[='\"").find(text[end]) != std::string_view::npos) {
    return refuse_toml_line(line, "a number must end before anything else begins");
  }
  return {};
}

// One past the closing quote of the text that begins at `begin`, or npos.
std::size_t end_of_text(std::string_view line, std::size_t begin) {
  const char quote = line[begin];
  for (std::size_t i = begin + 1; i < line.size(); ++i) {
    if (line[i] == quote) return i + 1;
    if (quote == '"' && line[i] == '\\') ++i;
  }
  return std::string_view::npos;
}

// Line by line before the parser sees anything. Its release in Debian 12 trusts texts too much: tables that are nested
// by dotted keys and braces as deep as a text is long overflow the stack; brackets without a name, broken times and
// letters beyond ASCII in a wrong place fail its assertions or are undefined. Nobody needs any of these. Without texts
// over several lines, quotes mean here what they mean to the parser.
Status check_line(std::string_view line, std::size_t number, std::string_view what) {
  const std::size_t first = line.find_first_not_of(" \t");
  if (first != std::string_view::npos && line[first] == '[') {
    if (first + 1 == line.size() || !is_letter(line[first + 1])) {
      return refuse_toml_line(number, "what begins with '[' must be a table as [found]");
    }
  }
  constexpr int kMaxDots = 16;
  int dots = 0;
  for (std::size_t i = 0; i < line.size() && line[i] != '#'; ++i) {
    const char c = line[i];
    if (c == '"' || c == '\'') {
      if (line.substr(i, 3) == std::string(3, c)) {
        return refuse_toml_line(number, "texts over several lines have no place in " + std::string(what));
      }
      const std::size_t end = end_of_text(line, i);
      if (end == std::string_view::npos) return refuse_toml_line(number, "the text in quotes does not end on its line");
      i = end - 1;
      continue;
    }
    const bool begins = i == 0 || !is_bare(line[i - 1]);
    if (begins && (is_digit(c) || c == '+' || c == '-')) CAIRN_TRY_VOID(check_number(line.substr(i), number));
    if (!is_syntax(c)) {
      const std::string_view letter = line.substr(i, utf8_char_length(line.substr(i)));
      return refuse_toml_line(number, "'" + printable_start(letter, 1) + "' has no place outside of quotes");
    }
    dots += c == '.';
    if (dots > kMaxDots) return refuse_toml_line(number, "there are too many points outside of quotes");
  }
  return {};
}

// What a parser of TOML must not get to see. kInvalidArgument with the line.
Status check_lines(std::string_view text, std::string_view what) {
  if (text.size() > kMaxTomlBytes) return refuse_toml_line(1, "the text is far too long for " + std::string(what));
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t length = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, length);
    for (std::string_view rest = line; !rest.empty(); rest.remove_prefix(utf8_char_length(rest))) {
      if (utf8_char_length(rest) == 0) return refuse_toml_line(number, "the text is not UTF-8");
    }
    CAIRN_TRY_VOID(check_line(line, number, what));
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  return {};
}

std::string_view type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "a list";
    case toml::node_type::string: return "text";
    case toml::node_type::integer: return "a whole number";
    case toml::node_type::floating_point: return "a number with a point";
    default: return "true or false";
  }
}

std::optional<Digest> digest_of(std::string_view hex) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  Digest digest;
  if (hex.size() != 2 * digest.bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < hex.size(); ++i) {
    const std::size_t digit = kDigits.find(hex[i]);
    if (digit == std::string_view::npos) return std::nullopt;
    digest.bytes[i / 2] = static_cast<std::uint8_t>(digest.bytes[i / 2] << 4 | digit);
  }
  return digest;
}

}  // namespace

std::unexpected<Error> refuse_toml_line(std::size_t line, const std::string& message) {
  return fail(ErrorCode::kInvalidArgument, "line " + std::to_string(line) + ": " + message);
}

std::string quoted_start(std::string_view text) {
  return "'" + printable_start(text, 60) + "'";
}

std::size_t toml_line_of(const toml::node& node) {
  return node.source().begin.line;
}

Result<toml::table> parse_checked_toml(std::string_view text, std::string_view what) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  CAIRN_TRY_VOID(check_lines(text, what));
  toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return refuse_toml_line(parsed.error().source().begin.line, printable_start(parsed.error().description(), 200));
  }
  return std::move(parsed).table();
}

const toml::node* TomlKeys::find(std::string_view key) {
  asked_.push_back(key);
  return table_.get(key);
}

Result<std::optional<std::string>> TomlKeys::text(std::string_view key) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::nullopt;
  std::optional<std::string> value = node->value_exact<std::string>();
  if (!value) return wrong(*node, key, "text in quotes");
  if (!is_toml_text(*value)) {
    return refuse_toml_line(toml_line_of(*node),
                            quoted_start(key) + " is too long or has characters that do not print");
  }
  return value;
}

Result<bool> TomlKeys::either(std::string_view key, std::string_view yes, std::string_view no) {
  CAIRN_TRY(const std::optional<std::string> value, text(key));
  if (!value || *value == yes || *value == no) return value == yes;
  return refuse_toml_line(toml_line_of(*table_.get(key)), quoted_start(key) + " must be " + quoted_start(yes) + " or " +
                                                              quoted_start(no) + ", not " + quoted_start(*value));
}

Result<std::optional<Digest>> TomlKeys::digest(std::string_view key) {
  CAIRN_TRY(const std::optional<std::string> hex, text(key));
  if (!hex) return std::nullopt;
  const std::optional<Digest> digest = digest_of(*hex);
  if (!digest)
    return refuse_toml_line(toml_line_of(*table_.get(key)),
                            quoted_start(key) + " must be 64 hexadecimal digits in quotes");
  return digest;
}

Result<std::optional<double>> TomlKeys::number(std::string_view key) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::nullopt;
  if (!node->is_number()) return wrong(*node, key, "a number");
  const std::optional<double> value = node->value<double>();
  // An integer beyond 2^53 has no exact value here.
  if (!value)
    return refuse_toml_line(toml_line_of(*node), quoted_start(key) + " must be a number that a double can hold");
  if (!std::isfinite(*value))
    return refuse_toml_line(toml_line_of(*node), quoted_start(key) + " must be a finite number");
  return value;
}

Result<std::optional<std::uint32_t>> TomlKeys::count(std::string_view key, std::uint32_t max) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::nullopt;
  const auto value = node->value_exact<std::int64_t>();
  if (!value) return wrong(*node, key, "a whole number");
  if (*value < 0 || *value > max) {
    return refuse_toml_line(toml_line_of(*node), quoted_start(key) + " must be 0 to " + std::to_string(max) + ", not " +
                                                     std::to_string(*value));
  }
  return static_cast<std::uint32_t>(*value);
}

Result<const toml::array*> TomlKeys::list(std::string_view key, std::string_view wanted) {
  const toml::node* node = find(key);
  if (node == nullptr) return nullptr;
  if (!node->is_array()) return wrong(*node, key, wanted);
  return node->as_array();
}

Result<const toml::table*> TomlKeys::table(std::string_view key) {
  const toml::node* node = find(key);
  if (node == nullptr) return nullptr;
  if (!node->is_table()) return wrong(*node, key, "a table");
  return node->as_table();
}

Status TomlKeys::no_others() const {
  for (const auto& [key, node] : table_) {
    if (std::ranges::find(asked_, key.str()) != asked_.end()) continue;
    std::string known;
    for (const std::string_view name : asked_) known += (known.empty() ? "" : ", ") + std::string(name);
    return refuse_toml_line(key.source().begin.line,
                            "unknown key " + quoted_start(key.str()) + "; choose among: " + known);
  }
  return {};
}

std::unexpected<Error> TomlKeys::wrong(const toml::node& node, std::string_view key, std::string_view wanted) {
  return refuse_toml_line(toml_line_of(node), quoted_start(key) + " must be " + std::string(wanted) + ", not " +
                                                  std::string(type_name(node)));
}

}  // namespace cairn

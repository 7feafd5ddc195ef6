// SPDX-License-Identifier: Apache-2.0
// Files of settings that people read and edit: a part of TOML, checked before the parser sees it, every key looked at.
// toml++ comes in here and nowhere else but in the server's settings; include this in sources alone.
//
// Errors are kInvalidArgument, one line that names the line of the file and the key.
#pragma once

// Header-only, so that sanitizers and fuzzers see into the parser, and without exceptions, which do not cross modules.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/base/toml_text.h"

namespace cairn {

// `what` is what the text should be, as "a plan". Also refused: a text that is not UTF-8 or longer than kMaxTomlBytes,
// texts over several lines, dates, tables within tables, more points outside of quotes than anybody needs.
Result<toml::table> parse_checked_toml(std::string_view text, std::string_view what);

std::unexpected<Error> refuse_toml_line(std::size_t line, const std::string& message);
std::size_t toml_line_of(const toml::node& node);
// "'text'", cut to what fits a message.
std::string quoted_start(std::string_view text);

// Reads keys of a table, each at most once, and knows in the end which of them were not read. Absent keys are empty
// optionals. Refers to the table; thread-compatible.
class TomlKeys {
 public:
  explicit TomlKeys(const toml::table& table) : table_(table) {}

  const toml::node* find(std::string_view key);
  Result<std::optional<std::string>> text(std::string_view key);
  // True for `yes`, false for `no` and where there is nothing.
  Result<bool> either(std::string_view key, std::string_view yes, std::string_view no);
  Result<std::optional<Digest>> digest(std::string_view key);
  Result<std::optional<double>> number(std::string_view key);
  Result<std::optional<std::uint32_t>> count(std::string_view key, std::uint32_t max);
  // Null where there is none. `wanted`: as "a list of codecs, one for each layer".
  Result<const toml::array*> list(std::string_view key, std::string_view wanted);
  Result<const toml::table*> table(std::string_view key);
  Status no_others() const;

  // That `node`, the value of `key` or a part of it, is not what is wanted.
  static std::unexpected<Error> wrong(const toml::node& node, std::string_view key, std::string_view wanted);

 private:
  const toml::table& table_;
  std::vector<std::string_view> asked_;
};

}  // namespace cairn

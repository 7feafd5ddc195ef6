// SPDX-License-Identifier: Apache-2.0
// A configuration file (TOML): the options of a command, under the names that they have on the command line.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"

namespace cairn {

struct ConfigEntry {
  std::string key;
  // As the command line would have them, one for each element of an array; nothing for dates, tables and nested arrays.
  std::optional<std::vector<std::string>> values;
  bool is_flag = false;  // true or false
  std::size_t line = 0;  // where the value stands
};

// The entries of the top level, ordered by key. Errors: kInvalidArgument for text that is not TOML, as "NAME:LINE:
// why".
Result<std::vector<ConfigEntry>> parse_config(std::string_view text, const std::string& name);
// Errors: those of read_file and parse_config.
Result<std::vector<ConfigEntry>> read_config(const std::string& path);

}  // namespace cairn

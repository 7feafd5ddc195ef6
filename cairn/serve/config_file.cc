// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/config_file.h"

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <charconv>

#include "cairn/base/file.h"
#include "cairn/base/utf8.h"

namespace cairn {
namespace {

constexpr std::size_t kMaxConfigBytes = std::size_t{1} << 20;

std::string number_text(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::optional<std::string> value_text(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* number = node.as_floating_point()) return number_text(number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  return std::nullopt;
}

std::optional<std::vector<std::string>> values_of(const toml::node& node) {
  std::vector<std::string> values;
  if (const auto* list = node.as_array()) {
    for (const toml::node& entry : *list) {
      const auto text = entry.is_array() ? std::nullopt : value_text(entry);
      if (!text) return std::nullopt;
      values.push_back(*text);
    }
    return values;
  }
  const auto text = value_text(node);
  if (!text) return std::nullopt;
  return std::vector{*text};
}

}  // namespace

Result<std::vector<ConfigEntry>> parse_config(std::string_view text, const std::string& name) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return fail(ErrorCode::kInvalidArgument, name + ":" + std::to_string(error.source().begin.line) + ": " +
                                                 printable_start(error.description(), 200));
  }
  std::vector<ConfigEntry> entries;
  for (const auto& [key, node] : parsed.table()) {
    entries.push_back({.key = std::string(key.str()),
                       .values = values_of(node),
                       .is_flag = node.is_boolean(),
                       .line = node.source().begin.line});
  }
  return entries;
}

Result<std::vector<ConfigEntry>> read_config(const std::string& path) {
  CAIRN_TRY(const std::vector<std::byte> bytes, read_file(path, kMaxConfigBytes));
  return parse_config({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

}  // namespace cairn

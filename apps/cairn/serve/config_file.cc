// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/serve/config_file.h"

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <vector>

#include "cairn/base/file.h"
#include "cairn/base/utf8.h"

namespace cairn::cli {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 20;

std::string number_text(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

// As the command line would have it; nothing for dates and tables.
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

Status apply(CLI::App& command, const std::string& key, const toml::node& node, const std::string& where) {
  CLI::Option* option = command.get_option_no_throw("--" + key);
  if (option == nullptr || key == "config" || key == "help" || key == "hash-key") {
    return fail(ErrorCode::kInvalidArgument,
                where + "unknown key '" + printable_start(key, 60) + "'; see 'cairn serve --help'");
  }
  const auto values = values_of(node);
  const bool single = option->get_items_expected_max() <= 1;
  if (!values || (single && values->size() != 1)) {
    return fail(ErrorCode::kInvalidArgument, where + "'" + key + "' does not take such a value");
  }
  if (option->count() > 0) return {};           // the command line wins
  if (option->get_items_expected_max() == 0) {  // a flag
    if (!node.is_boolean()) return fail(ErrorCode::kInvalidArgument, where + "'" + key + "' is true or false");
    if (values->front() == "false") return {};
  }
  try {
    for (const std::string& value : *values) option->add_result(value);
    option->run_callback();
  } catch (const CLI::Error& error) {
    return fail(ErrorCode::kInvalidArgument, where + printable_start(error.what(), 200));
  }
  return {};
}

}  // namespace

Status apply_config_file(CLI::App& command, const std::string& path) {
  CAIRN_TRY(const std::vector<std::byte> bytes, read_file(path, kMaxBytes));
  const toml::parse_result parsed =
      toml::parse(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return fail(ErrorCode::kInvalidArgument, path + ":" + std::to_string(error.source().begin.line) + ": " +
                                                 printable_start(error.description(), 200));
  }
  for (const auto& [key, node] : parsed.table()) {
    const std::string where = path + ":" + std::to_string(node.source().begin.line) + ": ";
    CAIRN_TRY_VOID(apply(command, std::string(key.str()), node, where));
  }
  return {};
}

}  // namespace cairn::cli

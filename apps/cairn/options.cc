// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <sstream>

namespace cairn::cli {
namespace {

template <typename Number>
std::string range_text(Number least, Number max, bool bounded) {
  std::ostringstream text;
  text << least;
  if (bounded) {
    text << " to " << max;
  } else {
    text << " or more";
  }
  return text.str();
}

template <typename Number>
bool read_number(const std::string& text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

CLI::Option* add_model_argument(CLI::App& command, std::string& model, const std::string& help) {
  return command.add_option("model,-m,--model", model, help)->required();
}

CLI::Validator whole_number(std::uint64_t least, std::uint64_t max) {
  const std::string range = range_text(least, max, max != UINT64_MAX);
  const auto check = [=](std::string& text) {
    std::uint64_t number = 0;
    const bool within = read_number(text, number) && number >= least && number <= max;
    return within ? std::string() : "'" + text + "' is not a whole number, " + range;
  };
  return CLI::Validator(check, range);
}

CLI::Validator not_negative() {
  return CLI::Validator(
      [](std::string& text) {
        if (text.starts_with('-')) return "'" + text + "' is negative";
        std::uint64_t number = 0;
        return read_number(text, number) ? std::string() : "'" + text + "' is not a whole number";
      },
      "");
}

CLI::Validator number_between(double least, double max) {
  const std::string range = range_text(least, max, true);
  const auto check = [=](std::string& text) {
    double number = 0;
    const bool within = read_number(text, number) && number >= least && number <= max;
    return within ? std::string() : "'" + text + "' is not a number, " + range;
  };
  return CLI::Validator(check, range);
}

CLI::Validator one_of(std::vector<std::string> names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  const auto check = [names = std::move(names), list](std::string& text) {
    const bool known = std::ranges::find(names, text) != names.end();
    return known ? std::string() : "there is no '" + text + "'; choose among: " + list;
  };
  return CLI::Validator(check, list);
}

CLI::Option* add_names_option(CLI::App& command, const std::string& option, std::vector<std::string>& names,
                              const std::string& help) {
  const auto take = [&names, option](const std::vector<std::string>& lists) {
    names.clear();
    for (const std::string& list : lists) {
      for (std::size_t begin = 0; begin <= list.size();) {
        const std::size_t end = std::min(list.find(',', begin), list.size());
        const std::string name = list.substr(begin, end - begin);
        const auto wrong = [&](const std::string& what) { return CLI::ValidationError(option, what); };
        if (name.empty()) throw wrong("'" + list + "' has an empty name in it");
        if (std::ranges::find(names, name) != names.end()) throw wrong("'" + name + "' is there twice");
        names.push_back(name);
        begin = end + 1;
      }
    }
  };
  return command.add_option_function<std::vector<std::string>>(option, take, help);
}

CLI::Validator existing_file() {
  const auto check = [](std::string& path) {
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) return "'" + path + "' is a folder, not a file";
    return std::filesystem::exists(path, error) ? std::string() : "there is no file '" + path + "'";
  };
  return CLI::Validator(check, "FILE");
}

CLI::Validator byte_size() {
  constexpr std::string_view kUnits = "bkmgtp";
  const auto convert = [=](std::string& text) {
    const std::string wrong = "'" + text + "' is no size: write 512MiB or 10GiB";
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    std::string unit = text.substr(static_cast<std::size_t>(end - text.data()));
    unit.erase(0, unit.find_first_not_of(' '));
    std::ranges::transform(unit, unit.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    std::size_t power = 0;
    if (!unit.empty()) {
      power = kUnits.find(unit.front());
      const std::string rest = unit.substr(1);
      if (power == std::string_view::npos || !(rest.empty() || (power > 0 && (rest == "b" || rest == "ib")))) {
        return wrong;
      }
    }
    if (error != std::errc() || number > UINT64_MAX >> (10 * power)) return wrong;
    text = std::to_string(number << (10 * power));
    return std::string();
  };
  return CLI::Validator(convert, "SIZE");
}

}  // namespace cairn::cli

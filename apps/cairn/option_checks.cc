// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/option_checks.h"

#include <CLI/CLI.hpp>
#include <sstream>

namespace cairn {

CLI::Validator not_negative() {
  return CLI::Validator(
      [](std::string& text) { return text.starts_with('-') ? "'" + text + "' is negative" : std::string(); }, "");
}

CLI::Validator number_between(double least, double most) {
  std::ostringstream range;
  range << "in [" << least << " - " << most << "]";
  const auto check = [=, where = range.str()](std::string& text) {
    double number = 0;
    const bool within = CLI::detail::lexical_cast(text, number) && number >= least && number <= most;
    return within ? std::string() : "'" + text + "' is not " + where;
  };
  return CLI::Validator(check, range.str());
}

}  // namespace cairn

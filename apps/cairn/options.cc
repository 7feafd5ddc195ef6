// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <sstream>

namespace cairn::cli {

CLI::Validator not_negative() {
  return CLI::Validator(
      [](std::string& text) { return text.starts_with('-') ? "'" + text + "' is negative" : std::string(); }, "");
}

CLI::Validator number_between(double least, double max) {
  std::ostringstream range;
  range << "in [" << least << " - " << max << "]";
  const auto check = [=, where = range.str()](std::string& text) {
    double number = 0;
    const bool within = CLI::detail::lexical_cast(text, number) && number >= least && number <= max;
    return within ? std::string() : "'" + text + "' is not " + where;
  };
  return CLI::Validator(check, range.str());
}

CLI::Validator byte_size() {
  constexpr std::size_t kMaxDigits = 19;  // what is longer would be taken for the largest number
  const CLI::AsSizeValue with_unit(/*kb_is_1000=*/false);
  const auto convert = [with_unit](std::string& text) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    if (digits == 0 || digits > kMaxDigits) return "'" + text + "' is no size: write 512MiB or 10GiB";
    return with_unit(text);
  };
  return CLI::Validator(convert, "SIZE");
}

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
// The page of `cairn eval report`: results of several runs, checked and put into the page of web/report, which draws
// them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cairn/base/result.h"

namespace cairn::eval {

inline constexpr std::uint64_t kMaxResultBytes = std::uint64_t{256} << 20;  // no result of cairn eval is larger

// Thread-compatible.
class Report {
 public:
  // Adds a file that `cairn eval kld --json` or `cairn eval suite --json` wrote. It is not trusted: every field is
  // checked for presence, type and range before a page shows it. Errors, as one line that names `source` and the place
  // in the file: kNotFound (no results in it), kCorrupt (no JSON; a field is missing, of the wrong type or out of
  // range), kUnsupported (a format of another name).
  Status add(std::string_view source, std::string_view text);

  // One HTML file that loads nothing. Whatever the results hold, it stays text: they are one JSON text in which no
  // markup can begin, and scripts run only with a nonce that depends on all results. The same results give the same
  // bytes.
  std::string page() const;

 private:
  std::string results_;  // JSON objects with commas between, ASCII without "<"
};

std::string_view report_template();  // web/report; defined in a file that cmake/embed_report.cmake writes

}  // namespace cairn::eval

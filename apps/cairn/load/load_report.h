// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "apps/cairn/load/load_options.h"

namespace cairn::cli {

struct LoadReport {
  const LoadOptions& options;
  std::vector<load::MeasuredServer> servers;
  std::size_t document_tokens = 0;
  bool approximate = false;  // no /tokenize: lengths are guesses
};

std::string load_text(const LoadReport& report);
std::string load_json(const LoadReport& report);
std::string request_lines(const LoadReport& report);  // one object per request

}  // namespace cairn::cli

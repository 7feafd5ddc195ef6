// SPDX-License-Identifier: Apache-2.0
// A measurement as JSON (docs/load.md): the figures, and a line per request.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cairn/load/round.h"

namespace cairn::load {

struct Report {
  WorkloadOptions workload;
  std::string salt;
  double slo_first_token_ms = 0, slo_token_ms = 0;  // 0: none was given
  std::size_t document_tokens = 0;
  bool approximate = false;  // no /tokenize: lengths of prompts are guesses
  std::vector<MeasuredServer> servers{};
};

// Format "cairn.load.v1"; what was not measured is null. Requires: a server.
std::string report_json(const Report& report);
// One object per request and line, by server and round.
std::string request_lines(const Report& report);

}  // namespace cairn::load

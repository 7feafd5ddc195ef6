// SPDX-License-Identifier: Apache-2.0
// What `cairn load` was asked to do, by its command line.
#pragma once

#include <string>
#include <vector>

#include "apps/cairn/options.h"
#include "cairn/load/round.h"

namespace cairn::cli {

struct LoadOptions {
  std::vector<std::string> urls;
  std::string api_key, api_key_file, ca_cert, model;
  std::string document_file, trace_file, salt;
  std::string api;  // "chat" or "completions"; empty: as the workload needs
  double timeout_s = 300, slo_ttft_ms = 0, slo_itl_ms = 0;
  load::WorkloadOptions workload;
  load::MeasureOptions measure;
  bool json = false;
  std::string requests_out;
};

// The options live as long as the command.
void add_load_options(CLI::App& command, LoadOptions& options);

// What the parser cannot know: which options the workload has a use for. Requires: parsed. Errors: kInvalidArgument.
Status finish_load_options(const CLI::App& command, LoadOptions& options);

}  // namespace cairn::cli

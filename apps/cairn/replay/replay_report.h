// SPDX-License-Identifier: Apache-2.0
// What `cairn replay` prints.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cairn/trace/replay.h"

namespace cairn::cli {

struct ReplayRow {
  std::uint64_t capacity_blocks = 0;  // 0: unbounded
  std::string policy;
  ReplayCounts counts;
};

struct TraceReplay {
  std::string file, format;
  std::uint64_t requests = 0, input_blocks = 0, distinct_blocks = 0;
  std::uint32_t block_tokens = 0;
  std::uint64_t block_bytes = 0;
  std::vector<ReplayRow> rows;  // by capacity, then as the user named the policies
};

std::string replay_text(const TraceReplay& replay);
nlohmann::ordered_json replay_json(const TraceReplay& replay);
// A whole SVG file: block hit rate over capacity, one line per policy.
std::string replay_plot(const TraceReplay& replay);

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
// Traces replayed against many policies and capacities, and what came of it: JSON, and a page that draws it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/trace/replay.h"

namespace cairn {

inline constexpr const char* kClairvoyant = "optimal";  // a name beside those of eviction policies

struct ReplayRow {
  std::uint64_t capacity_blocks = 0;  // 0: unbounded
  std::string policy;
  ReplayCounts counts;
};

// A value.
struct TraceReplay {
  std::string file, format;
  std::uint64_t requests = 0, input_blocks = 0, distinct_blocks = 0;
  std::uint32_t block_tokens = 0;
  std::uint64_t block_bytes = 0;
  std::vector<ReplayRow> rows;  // by capacity, then as the user named the policies
};

struct ReplayRuns {
  std::vector<std::string> policies;      // names of eviction policies, or kClairvoyant
  std::vector<std::uint64_t> capacities;  // in blocks, at least 1
  std::uint64_t block_bytes = 0;          // 0: 128 KiB per token
  std::function<bool(double share)> progress = [](double) { return true; };  // false stops the replay
};

// Each policy at each capacity, and what an unbounded cache would do. Errors: kInvalidArgument for an unknown policy;
// those of replay().
Result<TraceReplay> replay_runs(const Trace& trace, std::string file, const ReplayRuns& runs);

// "cairn.replay.v1": what is known of each trace, and a row per run.
std::string replay_json(std::span<const TraceReplay> replays);
// One HTML file that loads nothing: hit rates over capacity, a curve per policy, and all figures. Names of files stay
// text whatever they hold. The same replays give the same bytes.
std::string replay_page(std::span<const TraceReplay> replays);

std::string_view replay_template();  // web/report; defined in a file that cmake/embed_report.cmake writes

}  // namespace cairn

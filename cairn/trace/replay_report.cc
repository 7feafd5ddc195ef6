// SPDX-License-Identifier: Apache-2.0
#include "cairn/trace/replay_report.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "cairn/base/data_page.h"

namespace cairn {
namespace {

using ReportJson = nlohmann::ordered_json;

constexpr const char* kUnbounded = "lru";      // any would do: nothing is ever evicted
constexpr std::uint64_t kTokenBytes = 131072;  // 32 layers, 8 KV heads of 128, keys and values of 2 bytes

Result<ReplayCounts> replay_policy(const Trace& trace, const std::string& policy, const ReplayOptions& options) {
  if (policy == kClairvoyant) return replay_clairvoyant(trace, options);
  CAIRN_TRY(const auto made, make_eviction_policy(policy, options.capacity_blocks * options.block_bytes));
  return replay(trace, *made, options);
}

ReportJson row_json(const ReplayRow& row) {
  const ReplayCounts& counts = row.counts;
  ReportJson json = {{"capacity_blocks", row.capacity_blocks}, {"policy", row.policy}};
  if (row.capacity_blocks == 0) json["capacity_blocks"] = nullptr;
  json["block_hit_rate"] = rate(counts.hits, counts.lookups);
  json["prefix_hit_rate"] = rate(counts.prefix_hits, counts.lookups);
  json["token_hit_rate"] = rate(counts.hit_tokens, counts.tokens);
  json["prefix_token_hit_rate"] = rate(counts.prefix_hit_tokens, counts.tokens);
  json["blocks_read"] = counts.prefix_hits;  // only a prefix can be used, so only that is read
  json["blocks_written"] = counts.inserted;
  json["blocks_evicted"] = counts.evicted;
  json["blocks_refused"] = counts.refused;
  json["most_resident_blocks"] = counts.max_resident;
  return json;
}

ReportJson report_json(std::span<const TraceReplay> replays) {
  ReportJson report = {{"format", "cairn.replay.v1"}, {"traces", ReportJson::array()}};
  for (const TraceReplay& replay : replays) {
    ReportJson trace = {{"file", replay.file},
                        {"format", replay.format},
                        {"requests", replay.requests},
                        {"input_blocks", replay.input_blocks},
                        {"distinct_blocks", replay.distinct_blocks},
                        {"block_tokens", replay.block_tokens},
                        {"block_bytes", replay.block_bytes},
                        {"rows", ReportJson::array()}};
    for (const ReplayRow& row : replay.rows) trace["rows"].push_back(row_json(row));
    report["traces"].push_back(std::move(trace));
  }
  return report;
}

}  // namespace

Result<TraceReplay> replay_runs(const Trace& trace, std::string file, const ReplayRuns& runs) {
  TraceReplay result = {.file = std::move(file),
                        .format = trace.format,
                        .requests = trace.requests.size(),
                        .input_blocks = trace.input_blocks(),
                        .distinct_blocks = trace.blocks.size(),
                        .block_tokens = trace.block_tokens,
                        .block_bytes = runs.block_bytes > 0 ? runs.block_bytes : trace.block_tokens * kTokenBytes,
                        .rows = {}};
  const std::size_t total = runs.capacities.size() * runs.policies.size() + 1;
  const auto run = [&](std::uint64_t capacity, const std::string& policy) -> Status {
    const ReplayOptions options = {
        .capacity_blocks = capacity,
        .block_bytes = result.block_bytes,
        .progress = [&](std::size_t done, std::size_t of) {
          return runs.progress((static_cast<double>(result.rows.size()) + rate(done, of)) / static_cast<double>(total));
        }};
    CAIRN_TRY(const ReplayCounts counts, replay_policy(trace, policy, options));
    result.rows.push_back({capacity, policy, counts});
    return {};
  };
  for (const std::uint64_t capacity : runs.capacities) {
    for (const std::string& policy : runs.policies) CAIRN_TRY_VOID(run(capacity, policy));
  }
  CAIRN_TRY_VOID(run(0, kUnbounded));
  return result;
}

std::string replay_json(std::span<const TraceReplay> replays) {
  return report_json(replays).dump(2, ' ', false, ReportJson::error_handler_t::replace) + "\n";
}

std::string replay_page(std::span<const TraceReplay> replays) {
  const std::string json =
      report_json(replays).dump(-1, ' ', /*ensure_ascii=*/true, ReportJson::error_handler_t::replace);
  return page_with_data(replay_template(), within_script(json), "cairn.replay.page");
}

}  // namespace cairn

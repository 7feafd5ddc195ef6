// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/replay/replay_report.h"

#include "apps/cairn/terminal.h"

namespace cairn::cli {
namespace {

std::string capacity_text(std::uint64_t blocks) {
  return blocks == 0 ? "unbounded" : std::to_string(blocks);
}

// Only a prefix can be used, so only that is read.
std::uint64_t blocks_read(const ReplayCounts& counts) {
  return counts.prefix_hits;
}

}  // namespace

std::string replay_text(const TraceReplay& replay) {
  std::string text = replay.file + ": " + replay.format + ", " + std::to_string(replay.requests) + " requests, " +
                     std::to_string(replay.input_blocks) + " input blocks of " + std::to_string(replay.block_tokens) +
                     " tokens (" + format_bytes(static_cast<double>(replay.block_bytes)) + "), " +
                     std::to_string(replay.distinct_blocks) + " distinct with outputs\n";
  std::vector<std::vector<std::string>> table = {
      {"capacity", "policy", "block hits", "prefix hits", "token hits", "token prefix", "read", "written", "evicted"}};
  for (const ReplayRow& row : replay.rows) {
    const ReplayCounts& counts = row.counts;
    const auto bytes = [&](std::uint64_t blocks) {
      return format_bytes(static_cast<double>(blocks) * static_cast<double>(replay.block_bytes));
    };
    table.push_back({capacity_text(row.capacity_blocks), row.policy,
                     format_number(rate(counts.hits, counts.lookups), 4),
                     format_number(rate(counts.prefix_hits, counts.lookups), 4),
                     format_number(rate(counts.hit_tokens, counts.tokens), 4),
                     format_number(rate(counts.prefix_hit_tokens, counts.tokens), 4), bytes(blocks_read(counts)),
                     bytes(counts.inserted), bytes(counts.evicted)});
  }
  return text + format_table(table);
}

nlohmann::ordered_json replay_json(const TraceReplay& replay) {
  nlohmann::ordered_json json = {{"file", replay.file},
                                 {"format", replay.format},
                                 {"requests", replay.requests},
                                 {"input_blocks", replay.input_blocks},
                                 {"distinct_blocks", replay.distinct_blocks},
                                 {"block_tokens", replay.block_tokens},
                                 {"block_bytes", replay.block_bytes},
                                 {"rows", nlohmann::ordered_json::array()}};
  for (const ReplayRow& row : replay.rows) {
    const ReplayCounts& counts = row.counts;
    nlohmann::ordered_json entry = {{"capacity_blocks", row.capacity_blocks}, {"policy", row.policy}};
    if (row.capacity_blocks == 0) entry["capacity_blocks"] = nullptr;
    entry["block_hit_rate"] = rate(counts.hits, counts.lookups);
    entry["prefix_hit_rate"] = rate(counts.prefix_hits, counts.lookups);
    entry["token_hit_rate"] = rate(counts.hit_tokens, counts.tokens);
    entry["prefix_token_hit_rate"] = rate(counts.prefix_hit_tokens, counts.tokens);
    entry["blocks_read"] = blocks_read(counts);
    entry["blocks_written"] = counts.inserted;
    entry["blocks_evicted"] = counts.evicted;
    entry["blocks_refused"] = counts.refused;
    entry["most_resident_blocks"] = counts.max_resident;
    json["rows"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace cairn::cli

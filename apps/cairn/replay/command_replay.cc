// SPDX-License-Identifier: Apache-2.0
// cairn replay: what eviction policies would have made of a trace of requests.
#include <CLI/CLI.hpp>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apps/cairn/commands.h"
#include "apps/cairn/input.h"
#include "apps/cairn/options.h"
#include "apps/cairn/terminal.h"
#include "cairn/base/file.h"
#include "cairn/trace/replay_report.h"

namespace cairn::cli {
namespace {

struct CommandOptions {
  std::vector<std::string> traces;
  std::string format = "auto";
  std::vector<std::string> policies;
  std::vector<std::uint64_t> capacities;
  std::uint64_t block_bytes = 0;
  bool json = false;
  std::string plot;
};

const std::map<std::string, TraceFormat> kFormats = {
    {"auto", TraceFormat::kAuto}, {"mooncake", TraceFormat::kMooncake}, {"sharegpt", TraceFormat::kShareGpt}};

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
    table.push_back({row.capacity_blocks == 0 ? "unbounded" : std::to_string(row.capacity_blocks), row.policy,
                     format_number(rate(counts.hits, counts.lookups), 4),
                     format_number(rate(counts.prefix_hits, counts.lookups), 4),
                     format_number(rate(counts.hit_tokens, counts.tokens), 4),
                     format_number(rate(counts.prefix_hit_tokens, counts.tokens), 4),
                     bytes(counts.prefix_hits),  // only a prefix can be used, so only that is read
                     bytes(counts.inserted), bytes(counts.evicted)});
  }
  return text + format_table(table);
}

Result<TraceReplay> replay_file(const std::string& file, const CommandOptions& options) {
  CAIRN_TRY(const std::string text, read_text(file));
  CAIRN_TRY(const Trace trace, parse_trace(text, file, kFormats.at(options.format)));
  Progress bar("Replaying");
  return replay_runs(trace, file,
                     {.policies = options.policies,
                      .capacities = options.capacities,
                      .block_bytes = options.block_bytes,
                      .progress = [&bar](double share) {
                        bar.update(share);
                        return !interrupted();
                      }});
}

// What no trace is needed for is refused before one is read.
Status check_options(const CommandOptions& options) {
  for (const std::string& policy : options.policies) {
    if (policy != kClairvoyant) CAIRN_TRY_VOID(make_eviction_policy(policy, 0));
  }
  return {};
}

Status run_replay(const CommandOptions& options) {
  CAIRN_TRY_VOID(check_options(options));
  const InterruptScope interrupt;
  std::vector<TraceReplay> replays;
  for (const std::string& file : options.traces) {
    CAIRN_TRY(replays.emplace_back(), replay_file(file, options));
  }
  if (!options.plot.empty()) CAIRN_TRY_VOID(write_file(options.plot, replay_page(replays)));
  if (options.json) {
    std::cout << replay_json(replays);
    return {};
  }
  for (const TraceReplay& replay : replays) {
    std::cout << (&replay == &replays.front() ? "" : "\n") << replay_text(replay);
  }
  return {};
}

}  // namespace

void add_replay_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("replay", "Replay a trace of requests against eviction policies");
  auto options = std::make_shared<CommandOptions>();
  options->policies = eviction_policy_names();
  std::string names;
  for (const std::string& name : options->policies) names += name + ", ";
  options->policies.emplace_back(kClairvoyant);
  options->capacities = {1000, 2000, 5000, 10000, 20000, 50000};
  command->add_option("trace", options->traces, "Trace files (JSON lines); - is standard input")->required();
  command->add_option("--format", options->format, "Of the traces; auto: by the first line")
      ->check(one_of({"auto", "mooncake", "sharegpt"}))
      ->capture_default_str();
  command->add_option("--policy", options->policies, names + "and optimal, the clairvoyant bound")->delimiter(',');
  command->add_option("--capacity", options->capacities, "Blocks that the cache holds")
      ->delimiter(',')
      ->capture_default_str()
      ->check(whole_number(1, std::uint64_t{1} << 40));
  command->add_option("--block-bytes", options->block_bytes, "Bytes of a block; 0: 128 KiB per token")
      ->check(whole_number(0, std::uint64_t{1} << 40));
  command->add_option("--plot", options->plot, "Also write a page (HTML) that draws hit rates over capacity");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &outcome] { outcome = run_replay(*options); });
}

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
// cairn replay: what eviction policies would have made of a trace of requests.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apps/cairn/commands.h"
#include "apps/cairn/input.h"
#include "apps/cairn/replay/replay_report.h"
#include "apps/cairn/terminal.h"
#include "cairn/base/file.h"
#include "cairn/trace/replay.h"
#include "cairn/trace/trace.h"

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

namespace {

constexpr const char* kOptimal = "optimal";
constexpr const char* kUnbounded = "lru";      // any would do: nothing is ever evicted
constexpr std::uint64_t kTokenBytes = 131072;  // 32 layers, 8 KV heads of 128, keys and values of 2 bytes

struct CommandOptions {
  std::vector<std::string> traces;
  TraceFormat format = TraceFormat::kAuto;
  std::vector<std::string> policies;
  std::vector<std::uint64_t> capacities;
  std::uint64_t block_bytes = 0;
  bool json = false;
  std::string plot;
};

Result<ReplayCounts> replay_policy(const Trace& trace, const std::string& policy, const ReplayOptions& options) {
  if (policy == kOptimal) return replay_clairvoyant(trace, options);
  CAIRN_TRY(const auto made, make_eviction_policy(policy, options.capacity_blocks * options.block_bytes));
  return replay(trace, *made, options);
}

Result<TraceReplay> replay_file(const std::string& file, const CommandOptions& options) {
  CAIRN_TRY(const std::string text, read_text(file));
  CAIRN_TRY(const Trace trace, parse_trace(text, file, options.format));
  TraceReplay result = {.file = file,
                        .format = trace.format,
                        .requests = trace.requests.size(),
                        .input_blocks = trace.input_blocks(),
                        .distinct_blocks = trace.blocks.size(),
                        .block_tokens = trace.block_tokens,
                        .block_bytes = options.block_bytes > 0 ? options.block_bytes : trace.block_tokens * kTokenBytes,
                        .rows = {}};
  Progress bar("Replaying");
  const std::size_t runs = options.capacities.size() * options.policies.size() + 1;
  const auto run = [&](std::uint64_t capacity, const std::string& policy) -> Status {
    const std::size_t before = result.rows.size();
    const ReplayOptions replay_options = {
        .capacity_blocks = capacity,
        .block_bytes = result.block_bytes,
        .progress = [&](std::size_t done, std::size_t total) {
          bar.update((static_cast<double>(before) + rate(done, total)) / static_cast<double>(runs));
          return !interrupted();
        }};
    CAIRN_TRY(const ReplayCounts counts, replay_policy(trace, policy, replay_options));
    result.rows.push_back({capacity, policy, counts});
    return {};
  };
  for (const std::uint64_t capacity : options.capacities) {
    for (const std::string& policy : options.policies) CAIRN_TRY_VOID(run(capacity, policy));
  }
  CAIRN_TRY_VOID(run(0, kUnbounded));
  return result;
}

// What no trace is needed for is refused before one is read.
Status check_options(const CommandOptions& options) {
  for (const std::string& policy : options.policies) {
    if (policy != kOptimal) CAIRN_TRY_VOID(make_eviction_policy(policy, 0));
  }
  if (!options.plot.empty() && options.traces.size() > 1) {
    return fail(ErrorCode::kInvalidArgument, "--plot draws one trace; give one");
  }
  return {};
}

Status run_replay(CommandOptions options) {
  CAIRN_TRY_VOID(check_options(options));
  const InterruptScope interrupt;
  nlohmann::ordered_json report = {{"format", "cairn.replay.v1"}, {"traces", nlohmann::ordered_json::array()}};
  std::string text;
  for (const std::string& file : options.traces) {
    CAIRN_TRY(const TraceReplay replayed, replay_file(file, options));
    if (!options.plot.empty()) CAIRN_TRY_VOID(write_file(options.plot, replay_plot(replayed)));
    text += (text.empty() ? "" : "\n") + replay_text(replayed);
    report["traces"].push_back(replay_json(replayed));
  }
  if (options.json) text = report.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  std::cout << text;
  return {};
}

}  // namespace

void add_replay_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("replay", "Replay a trace of requests against eviction policies");
  auto options = std::make_shared<CommandOptions>();
  options->policies = eviction_policy_names();
  std::string names;
  for (const std::string& name : options->policies) names += name + ", ";
  options->policies.emplace_back(kOptimal);
  options->capacities = {1000, 2000, 5000, 10000, 20000, 50000};
  const std::map<std::string, TraceFormat> formats = {
      {"auto", TraceFormat::kAuto}, {"mooncake", TraceFormat::kMooncake}, {"sharegpt", TraceFormat::kShareGpt}};
  command->add_option("trace", options->traces, "Trace files (JSON lines); - is standard input")->required();
  command->add_option("--format", options->format, "mooncake or sharegpt, instead of looking at the first line")
      ->transform(CLI::CheckedTransformer(formats));
  command->add_option("--policy", options->policies, names + "and optimal, the clairvoyant bound")->delimiter(',');
  command->add_option("--capacity", options->capacities, "Blocks that the cache holds")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 40));
  command->add_option("--block-bytes", options->block_bytes, "Bytes of a block; 0: 128 KiB per token")
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{1} << 40));
  command->add_option("--plot", options->plot, "Also draw hit rates over capacity into an SVG file");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &outcome] { outcome = run_replay(*options); });
}

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
// cairn bench: tokens per second of prefill and decode at depths, beside what the machine's memory allows.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/cairn/commands.h"
#include "apps/cairn/model_options.h"
#include "apps/cairn/options.h"
#include "apps/cairn/terminal.h"
#include "cairn/capacity/machine.h"
#include "cairn/engine/speed.h"
#include "cairn/kernels/kernels.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

struct BenchOptions {
  ModelOptions model;
  std::vector<std::string> policies;  // empty: none
  SpeedSettings speed;
  std::vector<std::uint32_t> depths = {0};
  bool json = false;
  bool paced = false;
};

std::string filling(std::uint32_t depth) {
  return "Filling " + std::to_string(depth) + " tokens";
}

// The bar must outlive the settings. It is gone before anything is timed.
SpeedSettings with_bar(SpeedSettings settings, Progress& bar) {
  settings.on_fill = [&bar](std::size_t done, std::size_t total) {
    bar.update(static_cast<double>(done) / static_cast<double>(total));
    if (done == total) bar.finish();
  };
  return settings;
}

// What was measured at one depth under one policy; its name is empty where there is none.
struct Measured {
  std::string policy;
  DepthRates rates;
};

Json spread_json(const Measured& measured, std::uint32_t tokens, const std::vector<double>& rates) {
  const Spread spread = spread_of(rates);
  Json entry = {{"depth", measured.rates.depth}, {"tokens", tokens}};
  if (!measured.policy.empty()) entry["policy"] = measured.policy;
  entry["median"] = spread.median;
  entry["min"] = spread.min;
  entry["max"] = spread.max;
  return entry;
}

// Medians of the ratios within a repetition: what all of them met is gone from it.
double ratio_of(const std::vector<double>& rates, const std::vector<double>& to) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < rates.size(); ++i) ratios.push_back(rates[i] / to[i]);
  return spread_of(ratios).median;
}

// What one decode step cannot avoid reading: every weight once, and all keys and values.
double bytes_per_token(Engine& engine, std::uint32_t depth) {
  return static_cast<double>(engine.weight_bytes()) + static_cast<double>(engine.cache().bytes_of(depth));
}

Json report_json(Engine& engine, const BenchOptions& options, const std::vector<Measured>& all, double bandwidth) {
  const capacity::Machine machine = capacity::this_machine();
  Json report = {{"version", CAIRN_VERSION}, {"commit", CAIRN_COMMIT}};
  report["machine"] = {{"cpu", machine.cpu},
                       {"cores", machine.cores},
                       {"isa", kernels().name},
                       {"threads", engine.threads()},
                       {"read_bytes_per_s", bandwidth}};
  report["model"] = {{"file", options.model.model},
                     {"name", engine.config().name},
                     {"weights_digest", engine.recipe().weights.hex()},
                     {"weight_bytes", engine.weight_bytes()},
                     {"kv_bytes_per_token", engine.cache().bytes_per_token()}};
  report["codec"] = options.model.codec;
  // Of all depths and policies together; repetitions come one after the other.
  report["kv_peak_bytes"] = engine.cache().stats().high_water;
  report["repeat"] = options.speed.repeat;
  report["prefill"] = Json::array();
  report["decode"] = Json::array();
  const bool several = options.policies.size() > 1;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const DepthRates& rates = all[i].rates;
    const DepthRates& first = all[several ? i - i % options.policies.size() : i].rates;
    if (!rates.prefill.empty()) {
      Json entry = spread_json(all[i], options.speed.prefill, rates.prefill);
      if (several) entry["ratio_to_first"] = ratio_of(rates.prefill, first.prefill);
      report.at("prefill").push_back(std::move(entry));
    }
    if (!rates.decode.empty()) {
      Json entry = spread_json(all[i], options.speed.decode, rates.decode);
      if (all[i].policy.empty() || all[i].policy == kNoPolicy) {  // others read less, or hold less
        const double bytes = bytes_per_token(engine, rates.depth);
        entry["bytes_per_token"] = bytes;
        entry["read_share"] = bandwidth > 0 ? bytes * entry.at("median").get<double>() / bandwidth : 0;
      }
      if (several) entry["ratio_to_first"] = ratio_of(rates.decode, first.decode);
      report.at("decode").push_back(std::move(entry));
    }
  }
  return report;
}

void add_rows(std::vector<std::vector<std::string>>& rows, const std::string& what, const Json& entries) {
  for (const Json& entry : entries) {
    std::string name = what + " " + entry.at("tokens").dump() + " at depth " + entry.at("depth").dump();
    if (entry.contains("policy")) name += ", " + entry.at("policy").get<std::string>();
    std::vector<std::string> row = {name};
    for (const char* key : {"median", "min", "max"}) row.push_back(format_number(entry.at(key), 2));
    const bool reads = entry.contains("bytes_per_token");
    row.push_back(reads ? format_bytes(entry.at("bytes_per_token")) : "");
    row.push_back(reads ? format_number(entry.at("read_share").get<double>() * 100, 0) + " %" : "");
    if (entry.contains("ratio_to_first")) row.push_back(format_number(entry.at("ratio_to_first"), 2));
    rows.push_back(std::move(row));
  }
}

void print_text(const Json& report) {
  const Json& machine = report.at("machine");
  std::cout << machine.at("cpu").get<std::string>() << ", " << machine.at("threads") << " of " << machine.at("cores")
            << " cores, " << machine.at("isa").get<std::string>() << ", reads "
            << format_number(machine.at("read_bytes_per_s").get<double>() / 1e9, 1) << " GB/s\n"
            << report["model"]["file"].get<std::string>() << ", KV as " << report.at("codec").get<std::string>()
            << ", cairn " << report.at("version").get<std::string>() << " (" << report.at("commit").get<std::string>()
            << "), median of " << report.at("repeat") << "\n\n";
  std::vector<std::vector<std::string>> rows = {
      {"tokens per second", "median", "min", "max", "bytes/token", "of read"}};
  for (const char* kind : {"prefill", "decode"}) {
    if (!report.at(kind).empty() && report.at(kind).front().contains("ratio_to_first")) {
      rows.front().push_back("x first");
      break;
    }
  }
  add_rows(rows, "prefill", report.at("prefill"));
  add_rows(rows, "decode", report.at("decode"));
  std::cout << format_table(rows)
            << "keys and values at most: " << format_bytes(report.at("kv_peak_bytes").get<double>()) << '\n';
}

// A line of JSON when the cache is filled, then one for each line of standard input.
Status run_paced(Engine& engine, const BenchOptions& options) {
  Progress bar(filling(options.depths.front()));
  CAIRN_TRY(PacedDecode paced, PacedDecode::prepare(engine, options.depths.front(), with_bar(options.speed, bar)));
  const Json ready = {{"version", CAIRN_VERSION},
                      {"commit", CAIRN_COMMIT},
                      {"codec", options.model.codec},
                      {"depth", options.depths.front()},
                      {"bytes_per_token", bytes_per_token(engine, options.depths.front())}};
  std::cout << ready.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    CAIRN_TRY(const double rate, paced.measure());
    std::cout << Json{{"tokens_per_s", rate}}.dump() << std::endl;
  }
  return {};
}

Result<std::vector<std::optional<PolicySpec>>> policies_of(const std::vector<std::string>& names) {
  std::vector<std::optional<PolicySpec>> policies;
  for (const std::string& name : names) {
    if (name == kNoPolicy) {
      policies.emplace_back();
      continue;
    }
    CAIRN_TRY(policies.emplace_back(), parse_policy(name));
  }
  if (policies.empty()) policies.emplace_back();
  return policies;
}

Result<std::vector<Measured>> measure(Engine& engine, const BenchOptions& options,
                                      std::span<const std::optional<PolicySpec>> policies) {
  std::vector<Measured> all;
  for (const std::uint32_t depth : options.depths) {
    Progress bar(filling(depth));
    CAIRN_TRY(std::vector<DepthRates> rates, measure_policies(engine, depth, with_bar(options.speed, bar), policies));
    for (std::size_t p = 0; p < rates.size(); ++p) {
      const bool named = !options.policies.empty();
      all.push_back({!named ? "" : policies[p] ? policies[p]->text : kNoPolicy, std::move(rates[p])});
    }
  }
  return all;
}

Status run_bench(BenchOptions options) {
  if (options.paced && (options.depths.size() != 1 || options.speed.decode == 0))
    return fail(ErrorCode::kInvalidArgument, "--paced decodes at one depth; give one in --depths");
  if (options.paced && options.policies.size() > 1)
    return fail(ErrorCode::kInvalidArgument, "--paced decodes under one policy; give one");
  CAIRN_TRY(const auto policies, policies_of(options.policies));
  if (policies.front()) options.model.policy = options.policies.front();
  CAIRN_TRY_VOID(check_offload(options.model, policies));
  // Depths beyond the trained context are fine for timing.
  const std::uint32_t deepest = *std::ranges::max_element(options.depths);
  if (options.model.context == 0)
    options.model.context = deepest + std::max(options.speed.prefill, options.speed.decode + 1);
  // Several policies fill the cache once.
  CAIRN_TRY(const std::unique_ptr<Engine> engine, load_engine(options.model, /*reuse=*/policies.size() > 1));
  for (const std::optional<PolicySpec>& policy : policies) {
    if (!policy) continue;
    CAIRN_TRY_VOID(engine->check_policy(*policy));
  }
  if (options.paced) return run_paced(*engine, options);
  double bandwidth = capacity::measure_read_bandwidth(engine->threads());
  CAIRN_TRY(const std::vector<Measured> all, measure(*engine, options, policies));
  bandwidth = std::max(bandwidth, capacity::measure_read_bandwidth(engine->threads()));
  const Json report = report_json(*engine, options, all, bandwidth);
  if (options.json) {
    std::cout << report.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    print_text(report);
  }
  return {};
}

}  // namespace

void add_bench_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("bench", "Measure prefill and decode speed at depths of the KV cache");
  auto options = std::make_shared<BenchOptions>();
  add_model_options(*command, options->model);
  add_names_option(*command, "--policy", options->policies,
                   "Which tokens a sequence keeps and its queries read: NAME[+part=value]..., as quest+keep=0.125 "
                   "(docs/policies.md); several, as none,quest,sketch, take turns on one fill [none]");
  add_offload_options(*command, options->model);
  command->add_option("--prefill", options->speed.prefill, "Tokens of a prefill; 0: do not measure it")
      ->check(whole_number(0, 1 << 20))
      ->capture_default_str();
  command->add_option("--decode", options->speed.decode, "Tokens of a decode; 0: do not measure it")
      ->check(whole_number(0, 1 << 20))
      ->capture_default_str();
  command->add_option("--depths", options->depths, "Tokens that lie in the cache before, as --depths 0,8192")
      ->delimiter(',')
      ->check(whole_number(0, 1 << 24))
      ->capture_default_str();
  command->add_option("--repeat", options->speed.repeat, "Repetitions; the median is shown")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  command->add_flag("--paced", options->paced,
                    "Fill the cache, then decode once for each line of standard input and answer it with JSON");
  command->callback([options, &outcome] { outcome = run_bench(*options); });
}

}  // namespace cairn::cli

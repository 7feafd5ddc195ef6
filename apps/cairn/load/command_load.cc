// SPDX-License-Identifier: Apache-2.0
// cairn load: asks servers as many users would, and tells what the users would see.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <thread>

#include "apps/cairn/commands.h"
#include "apps/cairn/input.h"
#include "apps/cairn/load/load_report.h"
#include "apps/cairn/terminal.h"
#include "cairn/base/file.h"
#include "cairn/load/ask.h"
#include "cairn/trace/trace.h"

namespace cairn::cli {
namespace {

constexpr std::chrono::milliseconds kFactsTimeout(10000);
constexpr std::size_t kSampleWords = 500;

Result<std::string> read_key(const std::string& file) {
  CAIRN_TRY(std::string text, read_text(file));
  text.resize(std::min(text.find_first_of("\r\n"), text.size()));
  if (text.empty()) return fail(ErrorCode::kInvalidArgument, file + ": the first line is empty");
  return text;
}

Result<std::vector<load::Target>> targets_of(const LoadOptions& options) {
  std::string key = options.api_key;
  if (!options.api_key_file.empty()) {
    CAIRN_TRY(key, read_key(options.api_key_file));
  }
  if (key.find_first_of("\r\n") != key.npos) return fail(ErrorCode::kInvalidArgument, "a key is one line");
  std::vector<load::Target> targets;
  for (const std::string& url : options.urls) {
    CAIRN_TRY(load::Target target, load::parse_target(url));
    if (std::ranges::find(targets, target.name, &load::Target::name) != targets.end()) {
      return fail(ErrorCode::kInvalidArgument, "two servers are named '" + target.name + "'; use --url NAME=URL");
    }
    target.key = key;
    target.authorities = options.ca_cert;
    targets.push_back(std::move(target));
  }
  return targets;
}

Status ask_models(std::vector<load::Target>& targets, load::DeadlineWatch& watch, const LoadOptions& options) {
  for (load::Target& target : targets) {
    const load::HttpClient client(target, watch);
    auto model = load::first_model(client, kFactsTimeout);
    const bool known = !options.model.empty();
    if (!model && (!known || model.error().code != ErrorCode::kInvalidArgument)) {
      return std::unexpected(std::move(model).error());
    }
    target.model = known ? options.model : *std::move(model);
  }
  return {};
}

struct Tokens {
  load::TokenCounter count;  // empty: the server does not count
  double per_word = 1;
};

Result<Tokens> tokens_of(const load::HttpClient& client, const LoadOptions& options) {
  const std::string sample = load::made_words({options.workload.seed, "cairn.load.sample"}, kSampleWords);
  CAIRN_TRY(const auto tokens, load::count_tokens(client, sample, kFactsTimeout));
  if (!tokens || *tokens == 0) return Tokens{};
  return Tokens{.count = [&client](const std::string& text) -> Result<std::size_t> {
                  CAIRN_TRY(const auto counted, load::count_tokens(client, text, kFactsTimeout));
                  if (counted) return *counted;
                  return fail(ErrorCode::kIo, client.target().name + ": /tokenize answered before and fails now");
                },
                .per_word = static_cast<double>(*tokens) / kSampleWords};
}

Result<LoadReport> measure_load(LoadOptions& options) {
  CAIRN_TRY(std::vector<load::Target> targets, targets_of(options));
  std::shared_ptr<const Trace> trace;
  if (!options.trace_file.empty()) {
    CAIRN_TRY(const std::string text, read_text(options.trace_file));
    CAIRN_TRY(Trace read, parse_trace(text, options.trace_file, TraceFormat::kAuto));
    trace = std::make_shared<const Trace>(std::move(read));
  }
  if (!options.document_file.empty()) {
    CAIRN_TRY(options.workload.document, read_text(options.document_file));
  }
  load::DeadlineWatch watch;
  // Whatever is being asked when Ctrl-C comes.
  const std::jthread interrupter([&watch](const std::stop_token& end) {
    while (!end.stop_requested() && !interrupted()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (interrupted()) watch.stop_all();
  });
  CAIRN_TRY_VOID(ask_models(targets, watch, options));
  const load::HttpClient counting(targets.front(), watch);
  CAIRN_TRY(const Tokens tokens, tokens_of(counting, options));
  CAIRN_TRY(const load::Workload workload,
            load::Workload::make(options.workload, tokens.per_word, tokens.count, trace));
  Progress bar("Measuring");
  options.measure.progress = [&bar](double fraction) {
    bar.update(fraction);
    return !interrupted();
  };
  CAIRN_TRY(auto servers, measure(targets, watch, workload, options.measure));
  return LoadReport{.options = options,
                    .servers = std::move(servers),
                    .document_tokens = workload.document_tokens(),
                    .approximate = tokens.count == nullptr};
}

bool measured(const load::MeasuredServer& server) {
  return std::ranges::any_of(server.rounds, [](const load::RoundSummary& round) { return round.succeeded > 0; });
}

// A server that answered nothing was not measured.
Status check_servers(const LoadReport& report) {
  const auto failed = std::ranges::find(report.servers, false, measured);
  if (failed == report.servers.end()) return {};
  return fail(ErrorCode::kIo, failed->name + ": no request succeeded; first: " + failed->rounds.front().first_error);
}

Status run_load(const CLI::App& command, LoadOptions& options) {
  CAIRN_TRY_VOID(finish_load_options(command, options));
  const InterruptScope interrupt;
  Result<LoadReport> measured_load = measure_load(options);
  if (!measured_load && interrupted()) return fail(ErrorCode::kCancelled, "interrupted");
  CAIRN_TRY(const LoadReport report, std::move(measured_load));
  if (std::ranges::any_of(report.servers, measured)) {
    std::cout << (options.json ? load_json(report) : load_text(report));
  }
  if (!options.requests_out.empty()) CAIRN_TRY_VOID(write_file(options.requests_out, request_lines(report)));
  return check_servers(report);
}

}  // namespace

void add_load_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("load", "Measure OpenAI-compatible servers under load");
  auto options = std::make_shared<LoadOptions>();
  add_load_options(*command, *options);
  command->callback([command, options, &outcome] { outcome = run_load(*command, *options); });
}

}  // namespace cairn::cli

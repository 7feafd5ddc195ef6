// SPDX-License-Identifier: Apache-2.0
// cairn load: asks servers as many users would, and tells what the users would see.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <thread>

#include "apps/cairn/commands.h"
#include "apps/cairn/input.h"
#include "apps/cairn/load/load_options.h"
#include "apps/cairn/terminal.h"
#include "cairn/base/file.h"
#include "cairn/load/report.h"
#include "cairn/trace/trace.h"

namespace cairn::cli {
namespace {

constexpr std::chrono::milliseconds kFactsTimeout(10000);

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
  return load::parse_targets(options.urls, key, options.ca_cert);
}

Result<load::Report> measure_load(LoadOptions& options) {
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
  // Ends the requests that are outstanding when Ctrl-C comes.
  const std::jthread interrupter([&watch](const std::stop_token& end) {
    while (!end.stop_requested() && !interrupted()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (interrupted()) watch.stop_all();
  });
  CAIRN_TRY_VOID(load::choose_models(targets, watch, options.model, kFactsTimeout));
  const load::HttpClient counting(targets.front(), watch);
  CAIRN_TRY(const load::TokenLengths tokens, load::token_lengths(counting, options.workload.seed, kFactsTimeout));
  CAIRN_TRY(const load::Workload workload,
            load::Workload::make(options.workload, tokens.per_word, tokens.count, trace));
  Progress bar("Measuring");
  options.measure.progress = [&bar](double fraction) {
    bar.update(fraction);
    return !interrupted();
  };
  CAIRN_TRY(auto servers, measure(targets, watch, workload, options.measure));
  return load::Report{.workload = options.workload,
                      .salt = options.salt,
                      .slo_first_token_ms = options.slo_ttft_ms,
                      .slo_token_ms = options.slo_itl_ms,
                      .document_tokens = workload.document_tokens(),
                      .approximate = tokens.count == nullptr,
                      .servers = std::move(servers)};
}

std::string head(const load::Report& report, const std::string& trace_file) {
  const load::WorkloadOptions& workload = report.workload;
  std::string text = std::string("workload ") + load::workload_name(workload.kind) + ": ";
  const std::string document = (report.approximate ? "about " : "") + plural(report.document_tokens, "token");
  switch (workload.kind) {
    case load::WorkloadKind::kDocument:
      text += plural(workload.clients, "client") + " on one document of " + document;
      if (workload.warm) text += ", asked about once before";
      break;
    case load::WorkloadKind::kSeparate:
      text += plural(workload.clients, "client") + ", each on a document of its own of " + document;
      break;
    case load::WorkloadKind::kChat:
      text += plural(workload.clients, "user") + ", " + plural(workload.turns, "turn");
      if (report.document_tokens > 0) text += ", a shared system message of " + document;
      break;
    case load::WorkloadKind::kInterference:
      text += plural(workload.clients, "stream") + ", then a prompt of " + document;
      break;
    case load::WorkloadKind::kTrace:
      text +=
          trace_file + ", speed " + format_number(workload.speed, 2) + ", scale " + format_number(workload.scale, 3);
      break;
  }
  if (workload.kind != load::WorkloadKind::kTrace)
    text += ", up to " + plural(workload.max_tokens, "new token") + " each";
  return text + "; medians of " + plural(report.servers.front().rounds.size(), "round") + "\n";
}

std::string number(double value) {
  const double size = std::abs(value);
  return format_number(value, size >= 1000 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

// The ratio, and how far single rounds are from it.
void add_ratio(const std::optional<load::FigureRatio>& ratio, std::size_t rounds, std::vector<std::string>& row) {
  row.push_back(ratio ? format_number(ratio->of_medians, 2) : "-");
  if (rounds < 2) return;
  row.push_back(ratio ? format_number(ratio->low, 2) + "-" + format_number(ratio->high, 2) : "-");
}

std::string table(const load::Report& report) {
  std::vector<std::vector<std::string>> rows(1, {""});
  const load::MeasuredServer& first = report.servers.front();
  const std::size_t rounds = first.rounds.size();
  for (const load::MeasuredServer& server : report.servers) {
    rows[0].push_back(server.name);
    if (&server == &first) continue;
    rows[0].push_back("/ " + first.name);
    if (rounds > 1) rows[0].push_back("by round");
  }
  for (const load::Figure& figure : load::all_figures()) {
    bool any = false;
    std::vector<std::string> row = {figure.title};
    for (const load::MeasuredServer& server : report.servers) {
      const auto value = load::median_figure(figure, server.rounds);
      any |= value.has_value();
      row.push_back(value ? number(*value) : "-");
      if (&server != &first) add_ratio(load::ratio_of_figures(figure, server.rounds, first.rounds), rounds, row);
    }
    if (any) rows.push_back(std::move(row));
  }
  return format_table(rows);
}

// What a reader must know before believing the table.
std::string notes_of(const load::MeasuredServer& server) {
  const load::RoundSummary sum = load::sum_rounds(server.rounds);
  std::string text;
  const auto note = [&](const std::string& line) { text += server.name + ": " + line + "\n"; };
  std::string errors;
  for (const auto& [kind, count] : sum.errors) {
    errors += (errors.empty() ? "" : ", ") + std::to_string(count) + " " + kind;
  }
  if (!errors.empty())
    note("of " + plural(sum.requests, "request") + " failed " + errors + "; first: " + sum.first_error);
  if (sum.late > 0) {
    note(plural(sum.late, "request") + " sent late, up to " + format_number(sum.max_late_s, 1) +
         " s: all connections were in use; waiting counts, see --connections, --speed");
  }
  if (sum.uncounted > 0) note(plural(sum.uncounted, "answer") + " without usage: their tokens are not counted");
  if (sum.pieces > 0 && static_cast<double>(sum.output_tokens) > 1.05 * static_cast<double>(sum.pieces)) {
    note("pieces of " + format_number(static_cast<double>(sum.output_tokens) / static_cast<double>(sum.pieces), 2) +
         " tokens on average: ITL is the time between pieces");
  }
  if (sum.streams_ended_early > 0) {
    note(plural(sum.streams_ended_early, "stream") + " ended before the long prompt's first token; see --max-tokens");
  }
  return text;
}

std::string load_text(const load::Report& report, const std::string& trace_file) {
  std::string text = head(report, trace_file) + table(report);
  for (const load::MeasuredServer& server : report.servers) text += notes_of(server);
  if (report.approximate) {
    text += report.servers.front().name + " has no /tokenize: lengths of prompts are approximate\n";
  }
  return text;
}

bool measured(const load::MeasuredServer& server) {
  return std::ranges::any_of(server.rounds, [](const load::RoundSummary& round) { return round.succeeded > 0; });
}

// A server that answered nothing was not measured.
Status check_servers(const load::Report& report) {
  const auto failed = std::ranges::find(report.servers, false, measured);
  if (failed == report.servers.end()) return {};
  return fail(ErrorCode::kIo, failed->name + ": no request succeeded; first: " + failed->rounds.front().first_error);
}

Status run_load(const CLI::App& command, LoadOptions& options) {
  CAIRN_TRY_VOID(finish_load_options(command, options));
  const InterruptScope interrupt;
  Result<load::Report> measured_load = measure_load(options);
  if (!measured_load && interrupted()) return fail(ErrorCode::kCancelled, "interrupted");
  CAIRN_TRY(const load::Report report, std::move(measured_load));
  if (std::ranges::any_of(report.servers, measured)) {
    std::cout << (options.json ? load::report_json(report) : load_text(report, options.trace_file));
  }
  if (!options.requests_out.empty()) CAIRN_TRY_VOID(write_file(options.requests_out, load::request_lines(report)));
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

// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/load/load_report.h"

#include <algorithm>

#include "apps/cairn/terminal.h"

namespace cairn::cli {
namespace {

std::string head(const LoadReport& report) {
  const load::WorkloadOptions& workload = report.options.workload;
  std::string text = std::string("workload ") + workload_name(workload.kind) + ": ";
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
      text += report.options.trace_file + ", speed " + format_number(workload.speed, 2) + ", scale " +
              format_number(workload.scale, 3);
      break;
  }
  if (workload.kind != load::WorkloadKind::kTrace)
    text += ", up to " + plural(workload.max_tokens, "new token") + " each";
  return text + "; medians of " + plural(report.options.measure.rounds, "round") + "\n";
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

std::string table(const LoadReport& report) {
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
  load::RoundSummary sum;
  for (const load::RoundSummary& round : server.rounds) {
    sum.requests += round.requests;
    for (const auto& [kind, count] : round.errors) sum.errors[kind] += count;
    if (sum.first_error.empty()) sum.first_error = round.first_error;
    sum.late += round.late;
    sum.max_late_s = std::max(sum.max_late_s, round.max_late_s);
    sum.uncounted += round.uncounted;
    sum.output_tokens += round.output_tokens;
    sum.pieces += round.pieces;
    sum.streams_ended_early += round.streams_ended_early;
  }
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

}  // namespace

std::string load_text(const LoadReport& report) {
  std::string text = head(report) + table(report);
  for (const load::MeasuredServer& server : report.servers) text += notes_of(server);
  if (report.approximate) {
    text += report.servers.front().name + " has no /tokenize: lengths of prompts are approximate\n";
  }
  return text;
}

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/report.h"

#include <nlohmann/json.hpp>

namespace cairn::load {
namespace {

using ReportJson = nlohmann::ordered_json;

ReportJson number(const std::optional<double>& value) {
  return value ? ReportJson(*value) : ReportJson();
}

ReportJson count(const std::optional<std::size_t>& value) {
  return value ? ReportJson(*value) : ReportJson();
}

std::string dump(const ReportJson& json, int indent) {
  return json.dump(indent, ' ', false, ReportJson::error_handler_t::replace) + "\n";
}

ReportJson round_json(const RoundSummary& round) {
  ReportJson json = {{"requests", round.requests},
                     {"succeeded", round.succeeded},
                     {"errors", round.errors},
                     {"seconds", round.seconds},
                     {"prompt_tokens", round.prompt_tokens},
                     {"output_tokens", round.output_tokens},
                     {"cached_tokens", round.cached_tokens},
                     {"pieces", round.pieces},
                     {"late", round.late},
                     {"most_late_s", round.max_late_s},
                     {"without_usage", round.uncounted},
                     {"streams_ended_early", round.streams_ended_early}};
  for (const Figure& figure : all_figures()) {
    const auto value = figure.of(round);
    json[figure.key] = number(value ? std::optional(*value * figure.scale) : std::nullopt);
  }
  return json;
}

ReportJson server_json(const MeasuredServer& server, const MeasuredServer& first) {
  ReportJson medians = ReportJson::object(), ratios = ReportJson::object(), rounds = ReportJson::array();
  for (const Figure& figure : all_figures()) {
    medians[figure.key] = number(median_figure(figure, server.rounds));
    const auto ratio = ratio_of_figures(figure, server.rounds, first.rounds);
    if (ratio) ratios[figure.key] = {{"of_medians", ratio->of_medians}, {"low", ratio->low}, {"high", ratio->high}};
  }
  for (const RoundSummary& round : server.rounds) rounds.push_back(round_json(round));
  return {{"name", server.name},
          {"model", server.model},
          {"medians", std::move(medians)},
          {"to_first", std::move(ratios)},
          {"rounds", std::move(rounds)}};
}

ReportJson request_json(const Record& record) {
  const auto ms = [](const std::optional<double>& seconds) {
    return seconds ? ReportJson(*seconds * 1e3) : ReportJson();
  };
  ReportJson json = {{"client", record.client},
                     {"turn", record.turn},
                     {"due_s", record.due_s},
                     {"sent_s", record.sent_s},
                     {"done_s", record.done_s},
                     {"ttft_ms", ms(record.first_token_s())},
                     {"token_ms", ms(record.token_s())},
                     {"latency_ms", record.latency_s() * 1e3},
                     {"prompt_tokens", count(record.usage.prompt)},
                     {"output_tokens", count(record.usage.completion)},
                     {"cached_tokens", count(record.usage.cached)},
                     {"piece_s", record.piece_s}};
  if (record.long_prompt) json["long_prompt"] = true;
  if (!record.ok()) {
    json["error"] = record.error;
    json["detail"] = record.detail;
  }
  return json;
}

}  // namespace

std::string report_json(const Report& report) {
  const WorkloadOptions& workload = report.workload;
  ReportJson json = {
      {"format", "cairn.load.v1"},
      {"workload", workload_name(workload.kind)},
      {"clients", workload.clients},
      {"max_tokens", workload.max_tokens},
      {"document_tokens", report.document_tokens},
      {"approximate_lengths", report.approximate},
      {"warm", workload.warm},
      {"seed", workload.seed},
      {"salt", report.salt},
      {"slo_ttft_ms", report.slo_first_token_ms > 0 ? ReportJson(report.slo_first_token_ms) : ReportJson()},
      {"slo_itl_ms", report.slo_token_ms > 0 ? ReportJson(report.slo_token_ms) : ReportJson()},
      {"servers", ReportJson::array()}};
  for (const MeasuredServer& server : report.servers) {
    json["servers"].push_back(server_json(server, report.servers.front()));
  }
  return dump(json, 2);
}

std::string request_lines(const Report& report) {
  std::string text;
  for (const MeasuredServer& server : report.servers) {
    for (std::size_t round = 0; round < server.records.size(); ++round) {
      for (const Record& record : server.records[round]) {
        ReportJson line = {{"server", server.name}, {"round", round}};
        line.update(request_json(record));
        text += dump(line, -1);
      }
    }
  }
  return text;
}

}  // namespace cairn::load

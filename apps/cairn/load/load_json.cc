// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "apps/cairn/load/load_report.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

Json number(const std::optional<double>& value) {
  return value ? Json(*value) : Json();
}

Json count(const std::optional<std::size_t>& value) {
  return value ? Json(*value) : Json();
}

std::string dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json round_json(const load::RoundSummary& round) {
  Json json = {{"requests", round.requests},
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
  for (const load::Figure& figure : load::all_figures()) {
    const auto value = figure.of(round);
    json[figure.key] = number(value ? std::optional(*value * figure.scale) : std::nullopt);
  }
  return json;
}

Json server_json(const load::MeasuredServer& server, const load::MeasuredServer& first) {
  Json medians = Json::object(), ratios = Json::object(), rounds = Json::array();
  for (const load::Figure& figure : load::all_figures()) {
    medians[figure.key] = number(load::median_figure(figure, server.rounds));
    const auto ratio = load::ratio_of_figures(figure, server.rounds, first.rounds);
    if (ratio) ratios[figure.key] = {{"of_medians", ratio->of_medians}, {"low", ratio->low}, {"high", ratio->high}};
  }
  for (const load::RoundSummary& round : server.rounds) rounds.push_back(round_json(round));
  return {{"name", server.name},
          {"model", server.model},
          {"medians", std::move(medians)},
          {"to_first", std::move(ratios)},
          {"rounds", std::move(rounds)}};
}

Json request_json(const load::Record& record) {
  const auto ms = [](const std::optional<double>& seconds) { return seconds ? Json(*seconds * 1e3) : Json(); };
  Json json = {{"client", record.client},
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

std::string load_json(const LoadReport& report) {
  const LoadOptions& options = report.options;
  Json json = {{"format", "cairn.load.v1"},
               {"workload", workload_name(options.workload.kind)},
               {"clients", options.workload.clients},
               {"max_tokens", options.workload.max_tokens},
               {"document_tokens", report.document_tokens},
               {"approximate_lengths", report.approximate},
               {"warm", options.workload.warm},
               {"seed", options.workload.seed},
               {"salt", options.salt},
               {"slo_ttft_ms", options.slo_ttft_ms > 0 ? Json(options.slo_ttft_ms) : Json()},
               {"slo_itl_ms", options.slo_itl_ms > 0 ? Json(options.slo_itl_ms) : Json()},
               {"servers", Json::array()}};
  for (const load::MeasuredServer& server : report.servers) {
    json["servers"].push_back(server_json(server, report.servers.front()));
  }
  return dump(json, 2);
}

std::string request_lines(const LoadReport& report) {
  std::string text;
  for (const load::MeasuredServer& server : report.servers) {
    for (std::size_t round = 0; round < server.records.size(); ++round) {
      for (const load::Record& record : server.records[round]) {
        Json line = {{"server", server.name}, {"round", round}};
        line.update(request_json(record));
        text += dump(line, -1);
      }
    }
  }
  return text;
}

}  // namespace cairn::cli

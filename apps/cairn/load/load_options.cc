// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/load/load_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <map>
#include <random>

#include "apps/cairn/options.h"

namespace cairn::cli {
namespace {

constexpr std::size_t kMaxTokens = std::size_t{1} << 24;
constexpr double kDay = 86400;

using Kind = load::WorkloadKind;

std::map<std::string, Kind> kinds_by_name() {
  std::map<std::string, Kind> kinds;
  for (const Kind kind : {Kind::kDocument, Kind::kSeparate, Kind::kChat, Kind::kInterference, Kind::kTrace}) {
    kinds[load::workload_name(kind)] = kind;
  }
  return kinds;
}

std::vector<std::string> kind_names() {
  std::vector<std::string> names;
  for (const auto& [name, kind] : kinds_by_name()) names.push_back(name);
  return names;
}

struct UsedBy {
  const char* option;
  std::vector<Kind> kinds;
};

const std::vector<UsedBy> kUses = {
    {"--clients", {Kind::kDocument, Kind::kSeparate, Kind::kChat, Kind::kInterference}},
    {"--document", {Kind::kDocument}},
    {"--document-tokens", {Kind::kDocument, Kind::kSeparate}},
    {"--warm", {Kind::kDocument}},
    {"--turns", {Kind::kChat}},
    {"--turn-tokens", {Kind::kChat}},
    {"--system-tokens", {Kind::kChat}},
    {"--long-tokens", {Kind::kInterference}},
    {"--lead-tokens", {Kind::kInterference}},
    {"--speed", {Kind::kTrace}},
    {"--scale", {Kind::kTrace}},
    {"--limit", {Kind::kTrace}},
    {"--connections", {Kind::kTrace}},
};

void add_server_options(CLI::App& command, LoadOptions& options) {
  const char* group = "Servers";
  command.add_option("--url", options.urls, "[NAME=]URL of a server; again for others, which are measured in turns")
      ->required()
      ->expected(1)
      ->take_all()
      ->group(group);
  command.add_option("--api-key", options.api_key, "Sent to all servers as a bearer token")->group(group);
  command.add_option("--api-key-file", options.api_key_file, "The same from the first line of a file")
      ->excludes("--api-key")
      ->group(group);
  command.add_option("--ca-cert", options.ca_cert, "Certificates (PEM) to trust for https; default: the system's")
      ->check(existing_file())
      ->group(group);
  command.add_option("--model", options.model, "What to ask for; default: the first of each server's /v1/models")
      ->group(group);
  command.add_option("--api", options.api, "chat or completions; default: chat for chats, else completions")
      ->check(one_of({"chat", "completions"}))
      ->group(group);
  command.add_option("--timeout", options.timeout_s, "Seconds from a request to the end of its answer")
      ->check(number_between(0.01, kDay))
      ->capture_default_str()
      ->group(group);
}

void add_workload_options(CLI::App& command, load::WorkloadOptions& workload, LoadOptions& options) {
  const char* group = "Workload";
  const auto count = [&](const char* name, std::size_t& value, const char* help, std::size_t least, std::size_t max) {
    command.add_option(name, value, help)
        ->check(not_negative())
        ->check(whole_number(least, max))
        ->capture_default_str()
        ->group(group);
  };
  const auto factor = [&](const char* name, double& value, const char* help) {
    command.add_option(name, value, help)->check(number_between(1e-6, 1e6))->capture_default_str()->group(group);
  };
  command
      .add_option_function<std::string>(
          "--workload", [&workload](const std::string& name) { workload.kind = kinds_by_name().at(name); },
          "What they ask [document]")
      ->check(one_of(kind_names()))
      ->group(group);
  count("--clients", workload.clients, "Users, all at once; of interference: streams", 1, 1024);
  count("--max-tokens", workload.max_tokens, "New tokens of an answer", 1, kMaxTokens);
  command.add_option("--document", options.document_file, "Text that all ask about; - is standard input")->group(group);
  count("--document-tokens", workload.document_tokens, "Length of made-up documents, or where to cut --document", 1,
        kMaxTokens);
  command.add_flag("--warm", workload.warm, "Ask about the shared document once before each round")->group(group);
  count("--turns", workload.turns, "Questions of a chat", 1, 1000);
  count("--turn-tokens", workload.turn_tokens, "Length of each", 1, kMaxTokens);
  count("--system-tokens", workload.system_tokens, "Length of a system message that all chats share", 0, kMaxTokens);
  count("--long-tokens", workload.long_tokens, "Length of the prompt that interferes", 1, kMaxTokens);
  count("--lead-tokens", workload.lead_tokens, "Pieces of text that each stream has got by then", 1, kMaxTokens);
  command.add_option("--trace", options.trace_file, "Requests at recorded times: Mooncake or ShareGPT, JSON lines")
      ->group(group);
  factor("--speed", workload.speed, "Of the trace's clock: 2 is twice as fast");
  factor("--scale", workload.scale, "Of the trace's lengths: 0.1 is a tenth");
  count("--limit", workload.limit, "The first requests of the trace; 0: all", 0, SIZE_MAX);
  count("--connections", options.measure.run.connections, "Requests of a trace outstanding at most", 1, 4096);
  command.add_option("--seed", workload.seed, "Of made-up text")
      ->check(not_negative())
      ->capture_default_str()
      ->group(group);
  command.add_option("--salt", options.salt, "Stands for this run in front of prompts; default: a random one")
      ->group(group);
  command
      .add_flag("--ignore-eos", options.measure.run.ask.ignore_eos,
                "Ask for whole lengths (a field of cairn, llama-server and vLLM)")
      ->group(group);
}

void add_report_options(CLI::App& command, LoadOptions& options) {
  const char* group = "Report";
  const CLI::Validator milliseconds = number_between(0.001, kDay * 1000);
  command.add_option("--rounds", options.measure.rounds, "Rounds per server; medians over them are reported")
      ->check(whole_number(1, 1000))
      ->capture_default_str()
      ->group(group);
  command.add_option("--slo-ttft", options.slo_ttft_ms, "Milliseconds to the first token that a good request keeps")
      ->check(milliseconds)
      ->group(group);
  command.add_option("--slo-itl", options.slo_itl_ms, "Milliseconds per token after the first that it keeps")
      ->check(milliseconds)
      ->group(group);
  command.add_flag("--json", options.json, "Print JSON")->group(group);
  command.add_option("--requests-out", options.requests_out, "Also write a line of JSON per request into this file")
      ->group(group);
}

std::string random_salt() {
  std::random_device random;
  return std::to_string(random()) + "-" + std::to_string(random());
}

}  // namespace

void add_load_options(CLI::App& command, LoadOptions& options) {
  add_server_options(command, options);
  add_workload_options(command, options.workload, options);
  add_report_options(command, options);
}

Status finish_load_options(const CLI::App& command, LoadOptions& options) {
  const auto given = [&](const char* name) { return command.count(name) > 0; };
  const auto wrong = [](std::string what) { return fail(ErrorCode::kInvalidArgument, std::move(what)); };
  load::WorkloadOptions& workload = options.workload;
  if (given("--trace")) {
    if (given("--workload") && workload.kind != Kind::kTrace) return wrong("--trace is for --workload trace");
    workload.kind = Kind::kTrace;
  } else if (workload.kind == Kind::kTrace) {
    return wrong("--workload trace needs --trace FILE");
  }
  for (const UsedBy& use : kUses) {
    if (given(use.option) && std::ranges::find(use.kinds, workload.kind) == use.kinds.end()) {
      return wrong(std::string(use.option) + " has no meaning for the workload " + load::workload_name(workload.kind));
    }
  }
  workload.cut_document = given("--document-tokens");
  load::RoundOptions& run = options.measure.run;
  if (workload.kind != Kind::kTrace) run.connections = workload.clients + 1;
  run.ask.chat = options.api.empty() ? workload.kind == Kind::kChat : options.api == "chat";
  run.ask.timeout = std::chrono::milliseconds(static_cast<std::int64_t>(options.timeout_s * 1000));
  if (options.slo_ttft_ms > 0) options.measure.slo.first_token_s = options.slo_ttft_ms / 1000;
  if (options.slo_itl_ms > 0) options.measure.slo.token_s = options.slo_itl_ms / 1000;
  if (!given("--salt")) options.salt = random_salt();
  options.measure.salt = options.salt;
  return {};
}

}  // namespace cairn::cli

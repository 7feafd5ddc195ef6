// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/serve/serve_options.h"

#include <CLI/CLI.hpp>
#include <filesystem>

#include "apps/cairn/chat_options.h"
#include "apps/cairn/model_options.h"
#include "apps/cairn/options.h"
#include "apps/cairn/usage.h"
#include "cairn/base/utf8.h"
#include "cairn/gguf/gguf.h"
#include "cairn/serve/config_file.h"
#include "cairn/serve/http/connection.h"

namespace cairn::cli {
namespace {

constexpr double kLongestTime = 86400;

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

void add_network_options(CLI::App& command, ServeOptions& options) {
  const char* group = "Network";
  command.add_option("--host", options.http.host, "Name or address to listen on")->capture_default_str()->group(group);
  command.add_option("--port", options.http.port, "Port; 0 takes any that is free")
      ->check(whole_number(0, 65535))
      ->capture_default_str()
      ->group(group);
  command.add_option("--tls-cert", options.http.tls_certificate, "Speak TLS with this certificate (PEM)")->group(group);
  command.add_option("--tls-key", options.http.tls_key, "Its private key (PEM)")->group(group);
  command
      .add_option("--http-threads", options.http_threads,
                  "Connections served at a time; 0: as many as requests may run and wait, and some")
      ->check(whole_number(0, 4096))
      ->capture_default_str()
      ->group(group);
  command.add_option("--max-body", options.max_body, "Longest request [16MiB]")
      ->transform(byte_size())
      ->check(whole_number(1024, 1 << 30))
      ->default_str("16MiB")
      ->group(group);
  command.add_option("--request-timeout", options.request_timeout_s, "Seconds from a request to the end of its answer")
      ->check(number_between(1, kLongestTime))
      ->capture_default_str()
      ->group(group);
  command.add_option("--drain", options.drain_s, "Seconds that running requests have when the server is stopped")
      ->check(number_between(0, kLongestTime))
      ->capture_default_str()
      ->group(group);
}

void add_access_options(CLI::App& command, ServeOptions& options) {
  const char* group = "Access";
  command.add_option("--api-keys", options.keys_file, "File of 'TENANT HASH [running=N] [waiting=N] [kv=SIZE]' lines")
      ->group(group);
  command.add_flag("--hash-key", options.hash_key, "Read a key from standard input, print its hash, and end")
      ->group(group);
  command.add_flag("--insecure-no-keys", options.insecure_no_keys, "Listen beyond this machine without keys")
      ->group(group);
  command.add_flag("--metrics-open", options.metrics_open, "/metrics of all tenants needs no key")->group(group);
  command.add_option("--allow-origin", options.origins, "Web pages that may call, as https://example.org; * for all")
      ->delimiter(',')
      ->group(group);
  command.add_option("--allow-host", options.hosts, "Names of this server that a Host header may have")
      ->delimiter(',')
      ->group(group);
  command
      .add_option(
          "--public-prefix", options.public_prefixes,
          "Hold what this request begins with (a file with its JSON body) for every tenant, for good; repeatable")
      ->allow_extra_args(false)
      ->group(group);
  command.add_flag("--log-json", options.log_json, "Log lines are JSON")->group(group);
}

void add_generation_options(CLI::App& command, ServeOptions& options) {
  const char* group = "Generation";
  command.add_option("--served-name", options.served_name, "What clients call the model; default: the file's name")
      ->group(group);
  add_chat_template_option(command, options.chat_template)->group(group);
  add_chat_kwargs_option(command, options.chat_kwargs)
      ->description("Names for the chat template, where a request's chat_template_kwargs does not set them")
      ->group(group);
  command.add_option("--parallel", options.loop.max_running, "Requests that are computed at a time")
      ->check(whole_number(1, 1024))
      ->capture_default_str()
      ->group(group);
  command.add_option("--max-waiting", options.loop.max_waiting, "Requests that wait at a time; more are refused")
      ->check(whole_number(1, 4096))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--prefill-rows", options.loop.prefill_rows,
                  "Tokens of prompts per pass while others are being answered")
      ->check(whole_number(1, 256))
      ->capture_default_str()
      ->group(group);
  command.add_option("--patience", options.patience_s, "Seconds after which a request goes before cached ones")
      ->check(number_between(0, kLongestTime))
      ->capture_default_str()
      ->group(group);
  command.add_option("--temp", options.sampler.temperature, "Temperature where a request says nothing")
      ->capture_default_str()
      ->group(group);
  command.add_option("--top-k", options.sampler.top_k, "Likewise; 0: all")->capture_default_str()->group(group);
  command.add_option("--top-p", options.sampler.top_p, "Likewise; 1: all")->capture_default_str()->group(group);
  command.add_option("--min-p", options.sampler.min_p, "Likewise; 0: none")->capture_default_str()->group(group);
  add_names_option(
      command, "--request-policies", options.request_policies,
      "Token policies that a request may ask for instead of --policy: none, all, or names; full is none at all [none]")
      ->group(group);
}

Status apply_entry(CLI::App& command, const ConfigEntry& entry, const std::string& path) {
  const auto wrong = [&](const std::string& what) {
    return fail(ErrorCode::kInvalidArgument, path + ":" + std::to_string(entry.line) + ": " + what);
  };
  CLI::Option* option = command.get_option_no_throw("--" + entry.key);
  if (option == nullptr || entry.key == "config" || entry.key == "help" || entry.key == "hash-key") {
    return wrong("unknown key '" + printable_start(entry.key, 60) + "'; see 'cairn serve --help'");
  }
  const bool single = option->get_items_expected_max() <= 1;
  if (!entry.values || (single && entry.values->size() != 1)) {
    return wrong("'" + entry.key + "' does not take such a value");
  }
  if (option->count() > 0) return {};           // the command line wins
  if (option->get_items_expected_max() == 0) {  // a flag
    if (!entry.is_flag) return wrong("'" + entry.key + "' is true or false");
    if (entry.values->front() == "false") return {};
  }
  try {
    for (const std::string& value : *entry.values) option->add_result(value);
    option->run_callback();
  } catch (const CLI::Error& error) {
    return wrong(printable_start(value_message(error), 200));
  }
  return {};
}

}  // namespace

Status apply_config_file(CLI::App& command, const std::string& path) {
  CAIRN_TRY(const std::vector<ConfigEntry> entries, read_config(path));
  for (const ConfigEntry& entry : entries) CAIRN_TRY_VOID(apply_entry(command, entry, path));
  return {};
}

void add_serve_options(CLI::App& command, ServeOptions& options) {
  command.add_option("--config", options.config, "TOML file with any of these options; the command line wins");
  add_model_options(command, options.model);
  add_policy_option(command, options.model);
  command.get_option("--model")->required(false);  // it may stand alone, or in the file
  add_store_options(command, options.model);
  command.remove_option(command.get_option("--tenant"));  // a key says that
  add_network_options(command, options);
  add_access_options(command, options);
  add_generation_options(command, options);
}

Status check_serve_options(ServeOptions& options) {
  const auto wrong = [](const std::string& what) { return fail(ErrorCode::kInvalidArgument, what); };
  if (options.model.model.empty()) return wrong("no model is given: cairn serve MODEL.gguf");
  if (options.keys_file.empty() && !http::is_loopback(options.http.host) && !options.insecure_no_keys) {
    return wrong("--host " + options.http.host +
                 " can be reached from other machines: give --api-keys FILE, or say "
                 "--insecure-no-keys");
  }
  if (options.http.tls_certificate.empty() != options.http.tls_key.empty()) {
    return wrong("--tls-cert and --tls-key go together");
  }
  if (const auto sampler = Sampler::make(options.sampler); !sampler) return std::unexpected(sampler.error());
  CAIRN_TRY(options.policies, RequestPolicies::parse(options.request_policies));
  if (options.served_name.empty()) options.served_name = std::filesystem::path(options.model.model).stem().string();
  options.http.max_body_bytes = options.max_body;
  options.http.threads =
      options.http_threads != 0 ? options.http_threads : options.loop.max_running + options.loop.max_waiting + 32;
  options.loop.patience = milliseconds(options.patience_s);
  options.loop.kv_budget_bytes = options.model.kv_budget;
  options.loop.engine.codec = options.model.plan();
  options.loop.engine.policy = options.model.policy;
  options.loop.engine.offload = OffloadPlace::named(options.model.offload_place, options.model.offload_bytes);
  options.loop.engine.context = options.model.context;
  return {};
}

Result<std::optional<api::Keys>> read_keys(const ServeOptions& options) {
  if (options.keys_file.empty()) return std::nullopt;
  CAIRN_TRY(api::Keys keys, api::Keys::read(options.keys_file));
  return keys;
}

}  // namespace cairn::cli

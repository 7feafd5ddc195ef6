// SPDX-License-Identifier: Apache-2.0
// What `cairn serve` was asked to do, by its command line and its configuration file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "apps/cairn/model_options.h"
#include "apps/cairn/options.h"
#include "cairn/base/result.h"
#include "cairn/serve/api/api.h"
#include "cairn/serve/http/server.h"
#include "cairn/serve/loop.h"
#include "cairn/serve/request_policies.h"

namespace cairn::cli {

struct ServeOptions {
  ModelOptions model;
  std::string config;
  bool hash_key = false;

  http::ServerOptions http;
  std::size_t http_threads = 0;  // 0: as many as requests may run and wait, and some
  std::uint64_t max_body = std::uint64_t{16} << 20;
  double request_timeout_s = 600;
  double drain_s = 30;

  std::string keys_file;
  bool insecure_no_keys = false;
  bool metrics_open = false;
  std::vector<std::string> origins, hosts;
  std::vector<std::string> public_prefixes;  // files
  bool log_json = false;

  std::string served_name;    // empty: the file's
  std::string chat_template;  // empty: from the file
  std::string chat_kwargs;    // JSON; a request's own names go before
  SamplerOptions sampler = api::Model().sampler;
  std::vector<std::string> request_policies;  // names, or none or all
  RequestPolicies policies;                   // what check_serve_options() makes of them
  LoopOptions loop;
  double patience_s = 5;
};

void add_serve_options(CLI::App& command, ServeOptions& options);

// Sets the options that the command line did not from a TOML file. Errors: those of read_config; kInvalidArgument, with
// the line, for unknown keys and for values that the option does not take.
Status apply_config_file(CLI::App& command, const std::string& path);

// What they mean together. Errors: kInvalidArgument for what does not go together or would be unsafe.
Status check_serve_options(ServeOptions& options);
// Errors: those of api::Keys::read.
Result<std::optional<api::Keys>> read_keys(const ServeOptions& options);
}  // namespace cairn::cli

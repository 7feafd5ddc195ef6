// SPDX-License-Identifier: Apache-2.0
// cairn serve: an OpenAI-compatible server for one model.
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <iostream>
#include <memory>

#include "apps/cairn/chat_options.h"
#include "apps/cairn/commands.h"
#include "apps/cairn/model_options.h"
#include "apps/cairn/serve/serve_options.h"
#include "apps/cairn/terminal.h"
#include "cairn/base/check.h"
#include "cairn/policy/policy.h"
#include "cairn/serve/http/connection.h"

namespace cairn::cli {
namespace {

std::atomic<int> seen{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch nothing else");
int wake_pipe[2] = {-1, -1};

void on_signal(int /*number*/) {
  const int saved = errno;
  if (seen.fetch_add(1) > 0) ::_exit(exit_status(ErrorCode::kCancelled));
  if (::write(wake_pipe[1], "", 1) < 0) {
    // The pipe is empty before the first signal, so it takes the byte.
  }
  errno = saved;
}

// SIGINT and SIGTERM: the first asks the server to stop, the second ends the program at once. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  void wait() const;  // until the first signal, also one that came before the call

 private:
  struct sigaction previous_int_ {};
  struct sigaction previous_term_ {};
};

StopSignals::StopSignals() {
  CAIRN_CHECK(::pipe2(wake_pipe, O_NONBLOCK | O_CLOEXEC) == 0);
  seen = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_int_);
  sigaction(SIGTERM, &action, &previous_term_);
}

StopSignals::~StopSignals() {
  sigaction(SIGINT, &previous_int_, nullptr);
  sigaction(SIGTERM, &previous_term_, nullptr);
  ::close(wake_pipe[0]);
  ::close(wake_pipe[1]);
}

void StopSignals::wait() const {
  pollfd wait{.fd = wake_pipe[0], .events = POLLIN, .revents = 0};
  while (seen == 0) ::poll(&wait, 1, -1);
}

constexpr std::size_t kShortestKey = 16;  // fast hashes do not protect what can be guessed

Status print_key_hash() {
  std::string key;
  std::getline(std::cin, key);
  if (key.ends_with('\r')) key.pop_back();
  if (key.size() < kShortestKey) {
    return fail(ErrorCode::kInvalidArgument, "a key has at least 16 characters; 'openssl rand -hex 24' makes one");
  }
  std::cout << api::hash_api_key(key).hex() << '\n';
  return {};
}

std::map<std::string, TenantLimits> tenant_limits(const std::optional<api::Keys>& keys) {
  if (!keys) return {{"", {}}};
  std::map<std::string, TenantLimits> tenants;
  for (const auto& [name, limits] : keys->tenants()) {
    TenantLimits& of = tenants[name];
    of.kv_bytes = limits.kv_bytes;
    of.max_running = limits.max_running;
    if (limits.max_waiting > 0) of.max_waiting = limits.max_waiting;
  }
  return tenants;
}

// Whether a request that may ask for this policy, or for "all", may ask for one that moves blocks.
bool may_offload(const std::string& name) {
  const auto reads_less = [&](const NamedPolicy& row) { return row.name == name && !row.reader.empty(); };
  return name == "all" || std::ranges::any_of(policy_table(), reads_less);
}

// The weights once; every tenant's cache, codec and store come from the loop. Gives the model its tokenizer and
// context.
Result<std::unique_ptr<ServeLoop>> start_loop(const ServeOptions& options, const std::optional<api::Keys>& keys,
                                              api::Model& model) {
  LoopOptions loop = options.loop;
  loop.tenants = tenant_limits(keys);
  CAIRN_TRY(loop.engine.store, open_configured(options.model.store));
  ModelOptions weights = options.model;
  weights.store = {};
  CAIRN_TRY(std::unique_ptr<Engine> engine, load_engine(weights, /*reuse=*/false));
  model.tokenizer = &engine->tokenizer();
  model.context = engine->context();
  CAIRN_TRY_VOID(options.policies.check(engine->cache().options()));
  if (std::ranges::none_of(options.request_policies, may_offload)) {
    CAIRN_TRY_VOID(check_offload(options.model, {&engine->policy(), 1}));
  }
  CAIRN_TRY(loop.public_prefixes, api::read_public_prefixes(options.public_prefixes, model));
  CAIRN_TRY(std::unique_ptr<ServeLoop> started, ServeLoop::create(std::move(engine), std::move(loop)));
  if (const Store* store = started->store(); store != nullptr) {
    CAIRN_TRY_VOID(check_store_room(options.model.store, *store, started->stored_block_bytes()));
  }
  return started;
}

std::string url_of(const ServeOptions& options, int port) {
  const bool v6 = options.http.host.find(':') != std::string::npos;
  return std::string(options.http.tls_key.empty() ? "http://" : "https://") + (v6 ? "[" : "") + options.http.host +
         (v6 ? "]" : "") + ":" + std::to_string(port);
}

std::string start_line(const ServeOptions& options, const ServeLoop& loop, const std::optional<api::Keys>& keys,
                       const std::string& url) {
  std::string line = "serving '" + options.served_name + "' at " + url + ": " + std::to_string(loop.context()) +
                     " tokens of context, KV " + options.model.plan() + " in " +
                     format_bytes(static_cast<double>(options.loop.kv_budget_bytes));
  if (Store* store = loop.store(); store != nullptr) {
    line += ", store";
    for (std::size_t i = 0; i < store->tiers(); ++i) {
      const Tier& tier = store->tier(i);
      line += " " + tier.name();
      if (!tier.writes()) line += " (" + std::string(read_only_text(tier.read_only())) + ")";
    }
  }
  if (const std::size_t held = loop.state().tenants.front().kv_public; held > 0) {
    line += ", public prefixes of " + format_bytes(static_cast<double>(held)) + " per tenant";
  }
  const std::size_t tenants = keys ? keys->tenants().size() : 0;
  line += keys ? ", keys of " + std::to_string(tenants) + (tenants == 1 ? " tenant" : " tenants") : ", no keys";
  if (!keys && !http::is_loopback(options.http.host)) line += " (anybody who reaches this port may use it)";
  if (options.metrics_open) line += ", open metrics";
  if (!options.model.policy.empty()) line += ", policy " + options.model.policy;
  if (const std::string asked = options.policies.text(); asked != "none") line += ", requests may ask for " + asked;
  return line;
}

// glibc maps large buffers and unmaps them when they are freed, but raises what it calls large up to 32 MiB when it
// sees one freed. Bodies and texts then stay in the heaps of the HTTP threads: after 30 large ones the process kept
// 470 MiB, with a bound that stays it keeps 46, and its peak is 250 MiB instead of 620.
void give_back_large_buffers() {
  constexpr int kLargeBuffer = 1 << 20;
  ::mallopt(M_MMAP_THRESHOLD, kLargeBuffer);
}

Status serve(ServeOptions& options) {
  give_back_large_buffers();
  CAIRN_TRY_VOID(check_serve_options(options));
  CAIRN_TRY(const std::optional<api::Keys> keys, read_keys(options));
  CAIRN_TRY(ChatTemplate chat, choose_chat_template(options.chat_template, options.model.model));
  CAIRN_TRY(jinja::Dict chat_kwargs, read_chat_kwargs(options.chat_kwargs, chat));
  CAIRN_TRY(http::Listener listener, http::Listener::open(options.http.host, options.http.port));
  api::Model model{.chat_template = std::move(chat),
                   .chat_kwargs = std::move(chat_kwargs),
                   .name = options.served_name,
                   .policies = options.policies,
                   .sampler = options.sampler};
  CAIRN_TRY(const std::unique_ptr<ServeLoop> loop, start_loop(options, keys, model));
  CAIRN_TRY(const bool doubled_bos, probe_writes_bos_twice(*model.tokenizer, model.chat_template, model.chat_kwargs));
  api::AccessLog log(options.log_json ? api::AccessLog::Form::kJson : api::AccessLog::Form::kLogfmt);
  if (doubled_bos) log.event(std::string(kDoubledBos));
  std::vector<std::string> hosts = options.hosts;
  hosts.push_back(options.http.host);
  api::Options api_options{
      .model = model,
      .origins = {.loopback = http::is_loopback(options.http.host), .hosts = hosts, .origins = options.origins},
      .keys = keys,
      .metrics_open = options.metrics_open,
      .request_time = std::chrono::milliseconds(static_cast<std::int64_t>(options.request_timeout_s * 1000))};
  api::Api api(*loop, std::move(api_options), log);
  const StopSignals signals;
  CAIRN_TRY(std::unique_ptr<http::Server> server, http::Server::start(options.http, api, std::move(listener)));
  std::cout << start_line(options, *loop, keys, url_of(options, server->port())) << std::endl;
  signals.wait();
  log.event("stopping; a second signal ends at once");
  // Probes and metrics are answered meanwhile; new requests are refused.
  loop->drain(deadline_in(std::chrono::milliseconds(static_cast<std::int64_t>(options.drain_s * 1000))));
  server.reset();
  if (Store* store = loop->store(); store != nullptr) {
    if (const Status kept = store->flush(deadline_in(store->options().write_deadline)); !kept) {
      log.event("not everything is stored: " + kept.error().message);
    }
  }
  return {};
}

}  // namespace

void add_serve_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("serve", "Serve a model over HTTP, as OpenAI's clients expect it");
  auto options = std::make_shared<ServeOptions>();
  add_serve_options(*command, *options);
  command->footer("docs/serve.md says what is served and how it is kept within bounds.");
  command->callback([command, options, &outcome] {
    if (options->hash_key) {
      outcome = print_key_hash();
      return;
    }
    if (!options->config.empty()) outcome = apply_config_file(*command, options->config);
    if (outcome) outcome = serve(*options);
  });
}

}  // namespace cairn::cli

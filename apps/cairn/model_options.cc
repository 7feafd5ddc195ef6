// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/model_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "apps/cairn/options.h"
#include "apps/cairn/terminal.h"
#include "cairn/cache/kv_connector.h"
#include "cairn/eviction/eviction.h"
#include "cairn/store/doctor.h"

namespace cairn::cli {
namespace {

EngineOptions engine_options(const ModelOptions& options, bool reuse) {
  EngineOptions engine;
  engine.threads = options.threads;
  engine.kv_budget_bytes = options.kv_budget;
  engine.context = options.context;
  engine.codec = options.plan();
  engine.policy = options.policy;
  engine.reuse = reuse;
  engine.keeps_prefixes = false;  // nobody else begins with the prompts of one command
  engine.eviction = options.cache_eviction;
  engine.tenant = options.tenant;
  engine.offload = OffloadPlace::named(options.offload_place, options.offload_bytes);
  return engine;
}

Status check_place(const ModelOptions& options, const PolicySpec& policy) {
  if (!policy.offloads || !options.offload_place.empty()) return {};
  return fail(ErrorCode::kInvalidArgument,
              "policy '" + policy.text + "': there is nowhere to offload to; name a place with --offload");
}

}  // namespace

void add_model_options(CLI::App& command, ModelOptions& options) {
  add_model_argument(command, options.model);
  command.add_option("-t,--threads", options.threads, "Threads; 0 is one per core")->capture_default_str();
  command.add_option("-c,--ctx", options.context, "Context in tokens; 0 is what the model was trained for")
      ->capture_default_str();
  command
      .add_option("--kv-budget", options.kv_budget, "Most memory that the KV cache may use, as 512MiB or 2GiB [2GiB]")
      ->transform(byte_size())
      ->default_str("2GiB");
  command
      .add_option("--codec", options.codec,
                  "How the KV cache is stored: a codec, K/V for two, or a plan file; then +sinks=N, "
                  "+recent=N, +prefill=exact, +codebooks=FILE, +cold=FILE (docs/codecs.md)")
      ->capture_default_str();
  command.add_option("--cache-eviction", options.cache_eviction, "Which cached block goes first when memory is full")
      ->check(one_of(eviction_policy_names()))
      ->capture_default_str();
}

Result<std::unique_ptr<Engine>> load_engine(const ModelOptions& options, bool reuse) {
  if (!options.policy.empty()) {  // what is wrong on the command line comes before what a cache cannot follow
    CAIRN_TRY(const PolicySpec policy, parse_policy(options.policy));
    CAIRN_TRY_VOID(check_place(options, policy));
  }
  EngineOptions engine = engine_options(options, reuse);
  CAIRN_TRY(engine.store, open_configured(options.store));
  Progress progress("Loading");
  engine.on_load = [&progress](double fraction) { progress.update(fraction); };
  CAIRN_TRY(std::unique_ptr<Engine> loaded, Engine::load(options.model, engine));
  progress.finish();
  if (engine.store != nullptr) {
    const std::size_t block = loaded->cache().stored_block_bytes(engine.store->options().key.has_value());
    CAIRN_TRY_VOID(check_store_room(options.store, *engine.store, block));
  }
  return loaded;
}

Result<std::unique_ptr<Engine>> load_quietly(const ModelOptions& options) {
  return Engine::load(options.model, engine_options(options, /*reuse=*/false));
}

void add_policy_option(CLI::App& command, ModelOptions& options) {
  command
      .add_option_function<std::string>(
          "--policy", [&options](const std::string& policy) { options.policy = policy == kNoPolicy ? "" : policy; },
          "Which tokens a sequence keeps and its queries read: NAME[+part=value]..., as quest+keep=0.125 or "
          "keydiff+keep=0.5 (docs/policies.md) [none]")
      ->check([](const std::string& policy) { return policy.empty() ? "'' names no policy" : std::string(); });
  add_offload_options(command, options);
}

void add_offload_options(CLI::App& command, ModelOptions& options) {
  command
      .add_option(
          "--offload", options.offload_place,
          "Where blocks lie, beside the KV budget, that policies with +unread=offload move: a folder on a local "
          "disk, or ram")
      ->check([](const std::string& place) {
        if (place.empty()) return std::string("'' is no place: name a folder on a local disk, or ram");
        const bool url = place.find("://") != std::string::npos;
        return url ? "a query reads there at every layer: name a folder on a local disk, or ram" : std::string();
      });
  command.add_option("--offload-size", options.offload_bytes, "Most bytes that lie there [8GiB]")
      ->needs("--offload")
      ->transform(byte_size())
      ->check([](const std::string& bytes) { return bytes == "0" ? "no block fits 0 bytes" : std::string(); })
      ->default_str("8GiB");
}

Status check_offload(const ModelOptions& options, std::span<const std::optional<PolicySpec>> policies) {
  for (const std::optional<PolicySpec>& policy : policies) {
    if (policy) CAIRN_TRY_VOID(check_place(options, *policy));
  }
  const auto moves = [](const std::optional<PolicySpec>& policy) { return policy && policy->offloads; };
  if (options.offload_place.empty() || std::ranges::any_of(policies, moves)) return {};
  return fail(ErrorCode::kInvalidArgument,
              "--offload moves nothing without a policy that says so, as --policy sketch+unread=offload");
}

void add_store_options(CLI::App& command, ModelOptions& options) {
  StoreConfig& config = options.store;
  command
      .add_option(
          "--store", config.tiers,
          "Where prefixes outlive the process, fastest first: a folder, ram:512MiB, redis://HOST (docs/store.md)")
      ->delimiter(',')
      ->group("Store");
  command
      .add_option_function<std::uint64_t>(
          "--store-size", [&config](std::uint64_t bytes) { config.disk_bytes = bytes; },
          "Most bytes that a folder may hold [10GiB]")
      ->transform(byte_size())
      ->group("Store");
  command
      .add_option("--store-codec", options.store_codec,
                  "How blocks lie in the store: exact, as in memory, or FILE, a cold form in a tenth of the bytes that "
                  "'cairn tune cold' makes; memory then holds what the store gives back (docs/cold-form.md)")
      ->check([](const std::string& name) {
        if (name.empty()) return std::string("'' is no form: exact, or a file of 'cairn tune cold'");
        return name.contains('+') ? "a '+' begins a part of --codec: give the file a name without it" : std::string();
      })
      ->capture_default_str()
      ->group("Store");
  command.add_option("--tenant", options.tenant, "Whose prefixes these are; tenants never see each other's")
      ->group("Store");
  command
      .add_option_function<std::uint64_t>(
          "--store-tenant-size", [&config](std::uint64_t bytes) { config.tenant_bytes = bytes; },
          "Most bytes that one tenant may hold in a folder or in memory [what others do not need]")
      ->transform(byte_size())
      ->group("Store");
  command.add_option("--store-policy", config.eviction, "What is evicted first")
      ->check(one_of(eviction_policy_names()))
      ->capture_default_str()
      ->group("Store");
  command.add_option("--store-ttl", config.ttl_s, "Seconds that a block is kept; 0: while there is room")
      ->check(whole_number(0, 315360000))
      ->capture_default_str()
      ->group("Store");
  command.add_option("--store-key", config.key_file, "Encrypt with the key in this file: openssl rand -hex 32 > FILE")
      ->group("Store");
  command.add_flag("--store-required", config.required, "End with an error when the store does not open")
      ->group("Store");
}

Result<std::shared_ptr<Store>> open_configured(const StoreConfig& config) {
  if (config.tiers.empty()) return nullptr;
  CAIRN_TRY(const OpenedStore opened, open_store(config));
  for (const std::string& warning : opened.warnings) {
    std::cerr << "cairn: " << warning << '\n';
  }
  return opened.store;
}

Status check_store_room(const StoreConfig& config, const Store& store, std::size_t block_bytes) {
  for (const std::string& line : tiers_without_room(store, config.tenant_bytes, block_bytes)) {
    if (config.required) return fail(ErrorCode::kInvalidArgument, line);
    std::cerr << "cairn: " << line << '\n';
  }
  return {};
}

std::string store_figures(KvConnector& connector) {
  (void)connector.store().flush(deadline_in(connector.store().options().write_deadline));
  const KvConnectorStats cache = connector.stats();
  const StoreStats store = connector.store().stats();
  std::string text = "store: " + std::to_string(cache.blocks_loaded) + " blocks loaded in " +
                     format_number(cache.load_seconds, 3) + " s, " + std::to_string(cache.blocks_written) +
                     " queued for writing in " + format_number(1000 * cache.write_seconds, 1) + " ms";
  if (cache.loads_skipped > 0) text += ", " + std::to_string(cache.loads_skipped) + " loads skipped as too slow";
  if (cache.blocks_refused > 0) text += ", " + std::to_string(cache.blocks_refused) + " refused";
  if (store.writes_dropped + store.writes_failed > 0) {
    text += ", " + std::to_string(store.writes_dropped + store.writes_failed) + " writes dropped or failed";
  }
  for (const StoreStats::PerTier& tier : store.tiers) {
    if (tier.read_only != ReadOnly::kNo) text += ", " + tier.name + " is only read";
  }
  return text;
}

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/model_options.h"

#include <CLI/CLI.hpp>

#include "apps/cairn/options.h"
#include "apps/cairn/store_options.h"
#include "apps/cairn/terminal.h"
#include "cairn/eviction/eviction.h"

namespace cairn::cli {

namespace {

EngineOptions engine_options(const ModelOptions& options, bool reuse) {
  EngineOptions engine;
  engine.threads = options.threads;
  engine.kv_budget_bytes = options.kv_budget;
  engine.context = options.context;
  engine.codec = options.codec;
  engine.reuse = reuse;
  engine.eviction = options.cache_eviction;
  engine.tenant = options.store.tenant;
  return engine;
}

}  // namespace

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("-m,--model", options.model, "Model file (GGUF)")->required();
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
                  "+recent=N, +prefill=exact, +codebooks=FILE (docs/codecs.md)")
      ->capture_default_str();
  command.add_option("--cache-eviction", options.cache_eviction, "Which cached block goes first when memory is full")
      ->check(CLI::IsMember(eviction_policy_names()))
      ->capture_default_str();
}

Result<std::unique_ptr<Engine>> load_engine(const ModelOptions& options, bool reuse) {
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

}  // namespace cairn::cli

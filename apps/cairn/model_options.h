// SPDX-License-Identifier: Apache-2.0
// The options of every command that loads a model, and the loading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "apps/cairn/options.h"
#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/store/store.h"

namespace cairn::cli {

struct ModelOptions {
  std::string model;
  unsigned threads = 0;
  std::uint32_t context = 0;
  std::uint64_t kv_budget = std::uint64_t{2} << 30;
  std::string codec = "raw_f16";
  std::string cache_eviction = "lru";
  StoreConfig store;  // of commands that call add_store_options
};

void add_model_options(CLI::App& command, ModelOptions& options);

// Loads with a progress bar. Errors: those of Engine::load.
Result<std::unique_ptr<Engine>> load_engine(const ModelOptions& options, bool reuse = true);
// The same without a bar and without reuse: for threads beside one that shows progress.
Result<std::unique_ptr<Engine>> load_quietly(const ModelOptions& options);

}  // namespace cairn::cli

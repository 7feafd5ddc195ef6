// SPDX-License-Identifier: Apache-2.0
// The options of commands that load a model or use a store, and the loading and opening.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "apps/cairn/options.h"
#include "cairn/base/result.h"
#include "cairn/cache/kv_connector.h"
#include "cairn/engine/engine.h"
#include "cairn/policy/policy.h"
#include "cairn/store/store.h"

namespace cairn::cli {

inline constexpr const char* kNoPolicy = "none";     // as --policy
inline constexpr const char* kExactStore = "exact";  // as --store-codec

struct ModelOptions {
  std::string model;
  unsigned threads = 0;
  std::uint32_t context = 0;
  std::uint64_t kv_budget = std::uint64_t{2} << 30;
  std::string codec = "raw_f16";
  std::string cache_eviction = "lru";
  // Of commands that call add_policy_option:
  std::string policy;         // empty: none
  std::string offload_place;  // "ram" or a folder; empty: there is none
  std::uint64_t offload_bytes = std::uint64_t{8} << 30;
  // Of commands that call add_store_options:
  StoreConfig store;
  std::string store_codec = kExactStore;
  std::string tenant;

  // --codec and --store-codec in one, as make_plan() takes it.
  std::string plan() const { return store_codec == kExactStore ? codec : codec + "+cold=" + store_codec; }
};

void add_model_options(CLI::App& command, ModelOptions& options);

// --policy, and --offload with what belongs to it.
void add_policy_option(CLI::App& command, ModelOptions& options);
void add_offload_options(CLI::App& command, ModelOptions& options);
// kInvalidArgument for a place where none of these policies moves anything, and for one that moves without a place.
Status check_offload(const ModelOptions& options, std::span<const std::optional<PolicySpec>> policies);

// Loads with a progress bar. Errors: those of Engine::load; kInvalidArgument for a policy that moves without a place.
Result<std::unique_ptr<Engine>> load_engine(const ModelOptions& options, bool reuse = true);
// The same without a bar and without reuse: for threads beside one that shows progress.
Result<std::unique_ptr<Engine>> load_quietly(const ModelOptions& options);

// --store and what belongs to it.
void add_store_options(CLI::App& command, ModelOptions& options);

// Null without --store, and when no tier opened; says on standard error which did not. Errors: those of open_store.
Result<std::shared_ptr<Store>> open_configured(const StoreConfig& config);

// Says on standard error which tiers have no room for a block of this size; kInvalidArgument with --store-required.
Status check_store_room(const StoreConfig& config, const Store& store, std::size_t block_bytes);

// One line on what the store did for a command, for --stats.
std::string store_figures(KvConnector& connector);

}  // namespace cairn::cli

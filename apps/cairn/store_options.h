// SPDX-License-Identifier: Apache-2.0
// The options of every command that uses a store, and the opening.
#pragma once

#include <memory>
#include <string>

#include "apps/cairn/options.h"
#include "cairn/base/result.h"
#include "cairn/cache/kv_connector.h"
#include "cairn/store/store.h"

namespace cairn::cli {

// --store and what belongs to it.
void add_store_options(CLI::App& command, StoreConfig& config);

// Null without --store, and when no tier opened; says on standard error which did not. Errors: those of open_store.
Result<std::shared_ptr<Store>> open_configured(const StoreConfig& config);

// Says on standard error which tiers have no room for a block of this size; kInvalidArgument with --store-required.
Status check_store_room(const StoreConfig& config, const Store& store, std::size_t block_bytes);

// One line on what the store did for a command, for --stats.
std::string store_figures(KvConnector& link);

}  // namespace cairn::cli

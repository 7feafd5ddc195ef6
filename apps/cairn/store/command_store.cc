// SPDX-License-Identifier: Apache-2.0
// cairn store: what a store holds, whether it is sound, and changing it.
#include <CLI/CLI.hpp>
#include <ctime>
#include <filesystem>

#include "apps/cairn/commands.h"
#include "apps/cairn/store/store_commands.h"

namespace cairn::cli {

void add_store_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("store", "Look into a store of KV blocks, check it, change it");
  command->require_subcommand(1);
  add_store_stat_command(*command, outcome);
  add_store_ls_command(*command, outcome);
  add_store_verify_command(*command, outcome);
  add_store_explain_command(*command, outcome);
  add_store_pin_command(*command, outcome);
  add_store_move_command(*command, outcome);
  add_store_compress_command(*command, outcome);
  add_store_clear_command(*command, outcome);
  add_store_gc_command(*command, outcome);
  add_store_doctor_command(*command, outcome);
}

void add_store_argument(CLI::App& command, StoreCommand& options) {
  command.add_option("store", options.store, "A folder or redis://HOST")->required();
  command.add_option("--timeout", options.timeout_s, "Most seconds to wait for the store")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  command.add_flag("--json", options.json, "Print JSON");
}

Result<std::unique_ptr<Tier>> open_named(const StoreCommand& options, Access access) {
  if (options.store.starts_with("ram:")) {
    return fail(ErrorCode::kInvalidArgument, "memory ends with its process: name a folder or redis://HOST");
  }
  const bool folder = options.store.find("://") == std::string::npos;
  std::error_code error;
  if (folder && access != Access::kCreate && !std::filesystem::exists(options.store + "/cairn-store", error)) {
    return fail(ErrorCode::kNotFound, "there is no store in '" + options.store + "'");
  }
  StoreConfig config = options.config;
  config.read_only = access == Access::kRead;
  config.disk_bytes = UINT64_MAX / 4;  // these commands never evict
  CAIRN_TRY(auto tier, open_tier(options.store, config));
  if (access != Access::kRead && tier->read_only() == ReadOnly::kInUse) {
    return fail(ErrorCode::kIo, "'" + options.store + "' is in use by another process: try again when it has ended");
  }
  return tier;
}

Working::Working(const StoreCommand& options, const char* what)
    : progress_(what),
      watch_{.patience = std::chrono::seconds(options.timeout_s),
             .progress = [this](double share) { progress_.update(share); },
             .stopped = [] { return interrupted(); }} {}

std::string time_text(std::int64_t unix_s) {
  if (unix_s == 0) return "-";
  const auto time = static_cast<std::time_t>(unix_s);
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%F %T", &parts);
  return text;
}

}  // namespace cairn::cli

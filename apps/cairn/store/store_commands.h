// SPDX-License-Identifier: Apache-2.0
// The subcommands of `cairn store`. Each opens the tier that is named and leaves its outcome.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "apps/cairn/input.h"
#include "apps/cairn/options.h"
#include "apps/cairn/terminal.h"
#include "cairn/base/result.h"
#include "cairn/store/store.h"
#include "cairn/store/upkeep.h"

namespace cairn::cli {

void add_store_ls_command(CLI::App& app, Status& outcome);
void add_store_stat_command(CLI::App& app, Status& outcome);
void add_store_verify_command(CLI::App& app, Status& outcome);
void add_store_pin_command(CLI::App& app, Status& outcome);
void add_store_move_command(CLI::App& app, Status& outcome);
void add_store_compress_command(CLI::App& app, Status& outcome);
void add_store_clear_command(CLI::App& app, Status& outcome);
void add_store_gc_command(CLI::App& app, Status& outcome);
void add_store_doctor_command(CLI::App& app, Status& outcome);
void add_store_explain_command(CLI::App& app, Status& outcome);

// What most of them take.
struct StoreCommand {
  StoreConfig config;
  std::string store;
  std::uint64_t timeout_s = 60;
  bool json = false;

  Deadline deadline() const { return deadline_in(std::chrono::seconds(timeout_s)); }
};

void add_store_argument(CLI::App& command, StoreCommand& options);

enum class Access : std::uint8_t { kRead, kChange, kCreate };

// Without kRead no other process may write the store. Errors: those of open_tier; kInvalidArgument for a RAM tier,
// which ends with its process; kNotFound for a folder without a store, save for kCreate; kIo when the store is in use.
Result<std::unique_ptr<Tier>> open_named(const StoreCommand& options, Access access);
// Says on standard error that a tier holds blocks of another format version, if it does.
void warn_of_foreign(const Tier& tier);

// A command at work: its patience, a line of progress while it lives, and the user's interrupt.
class Working {
 public:
  Working(const StoreCommand& options, const char* what);
  const upkeep::Watch& watch() const { return watch_; }

 private:
  Progress progress_;
  InterruptScope scope_;
  upkeep::Watch watch_;
};

std::string time_text(std::int64_t unix_s);  // "2026-11-24 13:05:00", "-" for 0

}  // namespace cairn::cli

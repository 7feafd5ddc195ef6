// SPDX-License-Identifier: Apache-2.0
// The subcommands, and what the exit status means.
#pragma once

#include "apps/cairn/options.h"
#include "cairn/base/result.h"

namespace cairn::cli {

// Each registers its options and, when the user picked it, runs and leaves its outcome.
void add_run_command(CLI::App& app, Status& outcome);
void add_inspect_command(CLI::App& app, Status& outcome);
void add_tokenize_command(CLI::App& app, Status& outcome);
void add_bench_command(CLI::App& app, Status& outcome);
void add_eval_command(CLI::App& app, Status& outcome);
void add_plan_command(CLI::App& app, Status& outcome);
void add_tune_command(CLI::App& app, Status& outcome);
void add_tune_budgets_command(CLI::App& tune, Status& outcome);
void add_tune_codebooks_command(CLI::App& tune, Status& outcome);
void add_tune_rotate_command(CLI::App& tune, Status& outcome);
void add_tune_cold_command(CLI::App& tune, Status& outcome);
void add_replay_command(CLI::App& app, Status& outcome);
void add_store_command(CLI::App& app, Status& outcome);
void add_serve_command(CLI::App& app, Status& outcome);
void add_load_command(CLI::App& app, Status& outcome);
void add_demo_command(CLI::App& app, Status& outcome);

struct ExitCode {
  ErrorCode code;
  int status;
  const char* meaning;
};

// One status per error code, so that scripts need not read messages. 0 is success. --help prints this table.
inline constexpr ExitCode kExitCodes[] = {
    {ErrorCode::kInternal, 1, "a bug, or a check of ours that failed"},
    {ErrorCode::kInvalidArgument, 2, "a wrong flag or value"},
    {ErrorCode::kNotFound, 3, "a file, or something that must be in it, is missing"},
    {ErrorCode::kIo, 4, "the system could not read or write"},
    {ErrorCode::kCorrupt, 5, "the file contradicts its own format"},
    {ErrorCode::kUnsupported, 6, "a valid file that this build cannot use"},
    {ErrorCode::kTooLong, 7, "the prompt does not fit the context"},
    {ErrorCode::kOutOfBudget, 8, "the memory budget is too small"},
    {ErrorCode::kBusy, 9, "too much is going on; try again later"},
    {ErrorCode::kCancelled, 130, "interrupted"},
};

constexpr int exit_status(ErrorCode code) {
  for (const ExitCode& entry : kExitCodes) {
    if (entry.code == code) return entry.status;
  }
  return 1;
}

// Every code has a status, and no two share one.
consteval bool every_code_has_its_own_status() {
  for (std::size_t code = 0; code <= static_cast<std::size_t>(ErrorCode::kInternal); ++code) {
    std::size_t listed = 0;
    for (const ExitCode& entry : kExitCodes) listed += entry.code == static_cast<ErrorCode>(code) ? 1 : 0;
    if (listed != 1) return false;
  }
  for (const ExitCode& entry : kExitCodes) {
    if (exit_status(entry.code) != entry.status) return false;
    for (const ExitCode& other : kExitCodes) {
      if (&entry != &other && entry.status == other.status) return false;
    }
  }
  return true;
}
static_assert(every_code_has_its_own_status());

}  // namespace cairn::cli

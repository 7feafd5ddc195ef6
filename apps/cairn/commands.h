// SPDX-License-Identifier: Apache-2.0
// The subcommands. Each add_* registers its options and, when the user picked it, runs and leaves its outcome.
#pragma once

#include "apps/cairn/cli_fwd.h"
#include "cairn/base/result.h"

namespace cairn {

void add_run_command(CLI::App& app, Status& outcome);
void add_inspect_command(CLI::App& app, Status& outcome);
void add_tokenize_command(CLI::App& app, Status& outcome);
void add_bench_command(CLI::App& app, Status& outcome);
void add_eval_command(CLI::App& app, Status& outcome);
void add_plan_command(CLI::App& app, Status& outcome);
void add_tune_command(CLI::App& app, Status& outcome);
void add_replay_command(CLI::App& app, Status& outcome);
void add_store_command(CLI::App& app, Status& outcome);
void add_serve_command(CLI::App& app, Status& outcome);
void add_load_command(CLI::App& app, Status& outcome);
void add_demo_command(CLI::App& app, Status& outcome);

}  // namespace cairn

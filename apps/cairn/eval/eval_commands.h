// SPDX-License-Identifier: Apache-2.0
// The subcommands of `cairn eval`; each registers its options and leaves its outcome, as in commands.h.
#pragma once

#include "apps/cairn/options.h"
#include "cairn/base/result.h"

namespace cairn::cli {

void add_eval_ppl_command(CLI::App& eval, Status& outcome);
void add_eval_kld_command(CLI::App& eval, Status& outcome);
void add_eval_suite_command(CLI::App& eval, Status& outcome);
void add_eval_board_command(CLI::App& eval, Status& outcome);
void add_eval_items_command(CLI::App& eval, Status& outcome);
void add_eval_report_command(CLI::App& eval, Status& outcome);

}  // namespace cairn::cli

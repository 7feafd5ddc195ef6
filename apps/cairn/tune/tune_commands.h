// SPDX-License-Identifier: Apache-2.0
// The subcommands of `cairn tune`.
#pragma once

#include "apps/cairn/cli_fwd.h"
#include "cairn/base/result.h"

namespace cairn {

void add_tune_plan_command(CLI::App& tune, Status& outcome);
void add_tune_codebooks_command(CLI::App& tune, Status& outcome);

}  // namespace cairn

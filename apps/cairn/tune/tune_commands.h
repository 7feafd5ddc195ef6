// SPDX-License-Identifier: Apache-2.0
// The subcommand of `cairn tune` that has a file of its own.
#pragma once

#include "apps/cairn/options.h"
#include "cairn/base/result.h"

namespace cairn::cli {

void add_tune_codebooks_command(CLI::App& tune, Status& outcome);

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
// cairn tune: artifacts that fit codecs to a model.
#include <CLI/CLI.hpp>

#include "apps/cairn/commands.h"
#include "apps/cairn/tune/tune_commands.h"

namespace cairn {

void add_tune_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("tune", "Fit the codecs of the KV cache to a model");
  command->require_subcommand(1);
  add_tune_plan_command(*command, outcome);
  add_tune_codebooks_command(*command, outcome);
}

}  // namespace cairn

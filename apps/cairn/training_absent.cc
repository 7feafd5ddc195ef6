// SPDX-License-Identifier: Apache-2.0
// In place of the training of codebooks where a build leaves faiss out (CAIRN_FAISS=OFF).
#include <CLI/CLI.hpp>
#include <string>

#include "apps/cairn/commands.h"

namespace cairn::cli {

namespace {

void add_absent(CLI::App& app, const char* name, Status& outcome) {
  CLI::App* command = app.add_subcommand(name, "Not in this build (CAIRN_FAISS=OFF)")->allow_extras();
  command->callback([name, &outcome] {
    outcome = fail(ErrorCode::kUnsupported,
                   "'cairn tune " + std::string(name) + "' is not in this build; configure it with -DCAIRN_FAISS=ON");
  });
}

}  // namespace

void add_tune_codebooks_command(CLI::App& tune, Status& outcome) {
  add_absent(tune, "codebooks", outcome);
}

void add_tune_rotate_command(CLI::App& tune, Status& outcome) {
  add_absent(tune, "rotate", outcome);
}

void add_tune_cold_command(CLI::App& tune, Status& outcome) {
  add_absent(tune, "cold", outcome);
}

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
// In place of the training of codebooks where a build leaves faiss out (CAIRN_FAISS=OFF).
#include <CLI/CLI.hpp>

#include "apps/cairn/commands.h"

namespace cairn::cli {

void add_tune_codebooks_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("codebooks", "Not in this build (CAIRN_FAISS=OFF)")->allow_extras();
  command->callback([&outcome] {
    outcome = fail(ErrorCode::kUnsupported,
                   "'cairn tune codebooks' is not in this build; configure it with -DCAIRN_FAISS=ON");
  });
}

}  // namespace cairn::cli

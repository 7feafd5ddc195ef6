// SPDX-License-Identifier: Apache-2.0
// In place of apps/cairn/serve and apps/cairn/load where a build leaves the server out (CAIRN_SERVER=OFF).
#include <CLI/CLI.hpp>

#include "apps/cairn/commands.h"

namespace cairn::cli {
namespace {

void add_absent(CLI::App& app, const std::string& name, Status& outcome) {
  CLI::App* command = app.add_subcommand(name, "Not in this build (CAIRN_SERVER=OFF)")->allow_extras();
  command->callback([name, &outcome] {
    outcome =
        fail(ErrorCode::kUnsupported, "'cairn " + name + "' is not in this build; configure it with -DCAIRN_SERVER=ON");
  });
}

}  // namespace

void add_serve_command(CLI::App& app, Status& outcome) {
  add_absent(app, "serve", outcome);
}

void add_load_command(CLI::App& app, Status& outcome) {
  add_absent(app, "load", outcome);
}

}  // namespace cairn::cli

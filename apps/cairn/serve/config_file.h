// SPDX-License-Identifier: Apache-2.0
// Options of a command from a TOML file, under the names that they have on the command line.
#pragma once

#include <string>

#include "apps/cairn/options.h"
#include "cairn/base/result.h"

namespace cairn::cli {

// Sets the options that the command line did not. Errors: kInvalidArgument for a file that is not TOML, unknown keys
// and values that the option does not take, each with the line; those of read_file.
Status apply_config_file(CLI::App& command, const std::string& path);

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
// What people are told whose command line is wrong, in place of what CLI11 says.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
class Error;
class ParseError;
}  // namespace CLI

namespace cairn::cli {

// The arguments in the order in which CLI11 takes them, last first. A model that is given as --model comes before the
// others, so that it is not also looked for among those without a name: `cairn eval ppl text.txt -m model.gguf`.
std::vector<std::string> arguments_of(CLI::App& app, int argc, char** argv);

// One line on what is wrong, what to do and where to read on. Requires: `app` has just thrown `error`.
std::string usage_message(const CLI::App& app, const CLI::ParseError& error);

// The same of a value alone, without where to read on: "--port: 'x' is not a whole number, 0 to 65535".
std::string value_message(const CLI::Error& error);

}  // namespace cairn::cli

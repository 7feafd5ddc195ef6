// SPDX-License-Identifier: Apache-2.0
// What options accept. CLI11's own checks speak of types and ranges as programs do; these say in a line what was given
// and what is taken.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

// Names of CLI11: a header that includes all of it makes every file compile it.
namespace CLI {
class App;
class Option;
class Validator;
}  // namespace CLI

namespace cairn::cli {

// --model, which may stand alone too: `cairn run model.gguf` is `cairn run -m model.gguf`. Required. Comes before other
// arguments without a name, so it is added before them.
CLI::Option* add_model_argument(CLI::App& command, std::string& model, const std::string& help = "Model file (GGUF)");

// Within the range, ends included; the largest value there is means that there is no upper end.
CLI::Validator whole_number(std::uint64_t least, std::uint64_t max = UINT64_MAX);

// Any, for unsigned values, which CLI11 would let wrap around.
CLI::Validator not_negative();

CLI::Validator number_between(double least, double max);

CLI::Validator one_of(std::vector<std::string> names);

// A list of names, NAME,NAME,... or the option repeated, of which none is empty or there twice. (CLI11's own delimiter
// drops those that are empty.)
CLI::Option* add_names_option(CLI::App& command, const std::string& option, std::vector<std::string>& names,
                              const std::string& help);

// A file that is there.
CLI::Validator existing_file();

// Turns "512MiB" or "2GB" (both powers of two) into bytes.
CLI::Validator byte_size();

}  // namespace cairn::cli

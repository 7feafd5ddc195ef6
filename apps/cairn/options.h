// SPDX-License-Identifier: Apache-2.0
// What options accept beyond what CLI11 has.
#pragma once

// Names of CLI11: a header that includes all of it makes every file compile it.
namespace CLI {
class App;
class Validator;
}  // namespace CLI

namespace cairn::cli {

// For unsigned values, which CLI11 would let wrap around.
CLI::Validator not_negative();

// Unlike CLI::Range it refuses what is not a number.
CLI::Validator number_between(double least, double max);

// Turns "512MiB" or "2GB" (both powers of two) into bytes.
CLI::Validator byte_size();

}  // namespace cairn::cli

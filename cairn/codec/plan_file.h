// SPDX-License-Identifier: Apache-2.0
// A plan as a text that people read, keep beside a model and edit: TOML, every key checked. Names of codecs are texts
// here; what they mean is decided by make_plan() (cairn/codec/plan.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/base/toml_text.h"

namespace cairn {

inline constexpr std::uint32_t kPlanFileVersion = 1;
inline constexpr std::size_t kMaxPlanLayers = 4096;
inline constexpr std::uint32_t kMaxPlanBlocks = 1u << 20;  // of sinks and recent blocks

// How a plan came about. For people: nothing is decided by it. What is empty is left out of the file.
struct PlanOrigin {
  std::string method;       // how it was chosen, as "dynamic programming under a byte cap"
  std::string calibration;  // what errors were measured on
  std::string command;
  std::string date;                       // as 2026-11-23
  std::optional<double> bytes_per_token;  // K and V of all layers, metadata included
  std::optional<double> bits_per_value;   // mean, metadata included
  std::optional<double> predicted_error;
  std::optional<double> measured_kl;

  bool operator==(const PlanOrigin&) const = default;
};

// A value.
struct PlanFile {
  struct CodebooksFile {
    std::string path;              // as written; relative to the folder of the plan unless absolute
    std::optional<Digest> digest;  // Codebooks::digest(); none: whatever is in the file

    bool operator==(const CodebooksFile&) const = default;
  };

  std::optional<Digest> model;      // of the weights that it was made for; none: for any of this many layers
  std::vector<std::string> keys;    // codec of each layer
  std::vector<std::string> values;  // as many
  std::uint32_t sink_blocks = 0;
  std::uint32_t recent_blocks = 0;
  bool exact_prefill = false;
  std::optional<CodebooksFile> codebooks;
  PlanOrigin found;

  bool operator==(const PlanFile&) const = default;
};

// Small letters, digits, "-", "_" and "."; they end up in messages and recipes.
constexpr bool is_codec_name(std::string_view text) {
  if (text.empty() || text.size() > 64) return false;
  for (const char c : text) {
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.') return false;
  }
  return true;
}

// One line that names the line and the key. Errors: kInvalidArgument (no TOML or not UTF-8, unknown or missing keys,
// wrong types, numbers out of range or not finite, lists of different lengths), kUnsupported (of another version).
Result<PlanFile> parse_plan_file(std::string_view text);

// With comments; parse_plan_file() of it gives an equal plan, save that in `found` characters that are no printable
// UTF-8 are replaced, for a run of hours should not fail by the command that began it. kInvalidArgument where the rest
// is something that parse_plan_file() refuses.
Result<std::string> render_plan_file(const PlanFile& plan);

// The same with files. Errors also: kNotFound, kIo, kCorrupt (far too large for a plan).
Result<PlanFile> read_plan_file(const std::string& path);
Status write_plan_file(const std::string& path, const PlanFile& plan);

}  // namespace cairn

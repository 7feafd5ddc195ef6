// SPDX-License-Identifier: Apache-2.0
// Budgets of layers that were found before, on texts for calibration ("PrefixKV: Adaptive Prefix KV Cache is What
// Vision Instruction-Following Models Need for Efficient Generation", Wang et al. 2024, arXiv 2412.03409): the share of
// a text's tokens that each layer keeps, as a TOML file that people read. `cairn tune budgets` writes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"

namespace cairn {

struct PolicySpec;  // policy.h

inline constexpr std::uint32_t kBudgetProfileVersion = 1;
inline constexpr std::size_t kMaxProfileLayers = 4096;

// A value.
struct BudgetProfile {
  std::optional<Digest> model = {};  // of the weights that it was found for; none: for any of this many layers
  double keep = 0;                   // mean of the shares; (0, 1]
  std::vector<double> shares = {};   // of the tokens, each above 0 and at most 1: of the layers that have keys of their
                                     // own and no window, in their order
  // How it came about. For people: nothing is decided by it. What is empty is left out of the file.
  std::string policy = {};
  std::string calibration = {};
  std::string command = {};
  std::string date = {};  // as 2026-11-30

  bool operator==(const BudgetProfile&) const = default;
  // Whether both say the same of what is kept, however they came about.
  bool same_budgets(const BudgetProfile& other) const {
    return model == other.model && keep == other.keep && shares == other.shares;
  }
};

// One line that names the line and the key. Errors: kInvalidArgument (no TOML or not UTF-8, unknown or missing keys,
// wrong types, shares out of range), kUnsupported (of another version).
Result<BudgetProfile> parse_budget_profile(std::string_view text);

// With comments; parse_budget_profile() of it gives an equal profile, save that what is for people is made printable.
// kInvalidArgument where the rest is something that parse_budget_profile() refuses.
Result<std::string> render_budget_profile(const BudgetProfile& profile);

// The same with files. Errors also: kNotFound, kIo, kCorrupt (far too large).
Result<BudgetProfile> read_budget_profile(const std::string& path);
Status write_budget_profile(const std::string& path, const BudgetProfile& profile);

// Whether the policy's profile, if it has one, is for this many layers, and for these weights. kInvalidArgument says
// what is wrong.
Status check_profile_layers(const PolicySpec& policy, std::size_t layers);
Status check_profile_model(const PolicySpec& policy, const Digest& model);

}  // namespace cairn

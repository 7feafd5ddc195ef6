// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/budget_profile.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "cairn/base/checked_toml.h"
#include "cairn/base/file.h"
#include "cairn/base/toml_text.h"
#include "cairn/policy/policy.h"

namespace cairn {
namespace {

using Text = std::pair<std::string_view, std::string BudgetProfile::*>;

constexpr Text kOrigin[] = {{"policy", &BudgetProfile::policy},
                            {"calibration", &BudgetProfile::calibration},
                            {"command", &BudgetProfile::command},
                            {"date", &BudgetProfile::date}};

bool is_profile_share(double share) {
  return share > 0 && share <= 1;
}

Status read_profile_version(TomlKeys& keys) {
  CAIRN_TRY(const std::optional<std::uint32_t> version, keys.count("cairn_budgets", UINT32_MAX));
  if (!version) {
    return fail(ErrorCode::kInvalidArgument, "this is no profile of budgets: 'cairn_budgets = " +
                                                 std::to_string(kBudgetProfileVersion) + "' is missing");
  }
  if (*version != kBudgetProfileVersion) {
    return fail(ErrorCode::kUnsupported, "the profile has version " + std::to_string(*version) +
                                             "; this build reads version " + std::to_string(kBudgetProfileVersion));
  }
  return {};
}

Result<std::vector<double>> read_shares(TomlKeys& keys) {
  CAIRN_TRY(const toml::array* list, keys.list("shares", "a list of numbers, one for each layer"));
  if (list == nullptr) return fail(ErrorCode::kInvalidArgument, "the list 'shares' is missing");
  if (list->empty() || list->size() > kMaxProfileLayers) {
    return refuse_toml_line(toml_line_of(*list), "'shares' has " + std::to_string(list->size()) + " layers; 1 to " +
                                                     std::to_string(kMaxProfileLayers) + " make sense");
  }
  std::vector<double> shares;
  for (const toml::node& element : *list) {
    const std::optional<double> share = element.is_number() ? element.value<double>() : std::nullopt;
    if (!share || !is_profile_share(*share)) {
      return refuse_toml_line(toml_line_of(element), "a share is a number above 0 and at most 1");
    }
    shares.push_back(*share);
  }
  return shares;
}

Result<BudgetProfile> read_profile(const toml::table& root) {
  TomlKeys keys(root);
  CAIRN_TRY_VOID(read_profile_version(keys));
  BudgetProfile profile;
  CAIRN_TRY(profile.model, keys.digest("model"));
  CAIRN_TRY(const std::optional<double> keep, keys.number("keep"));
  if (!keep || !is_profile_share(*keep)) {
    return fail(ErrorCode::kInvalidArgument, "'keep' must be a number above 0 and at most 1: the mean of the shares");
  }
  profile.keep = *keep;
  CAIRN_TRY(profile.shares, read_shares(keys));
  CAIRN_TRY(const toml::table* found, keys.table("found"));
  CAIRN_TRY_VOID(keys.no_others());
  if (found == nullptr) return profile;
  TomlKeys origin(*found);
  for (const auto& [key, member] : kOrigin) {
    CAIRN_TRY(std::optional<std::string> text, origin.text(key));
    profile.*member = std::move(text).value_or("");
  }
  CAIRN_TRY_VOID(origin.no_others());
  return profile;
}

}  // namespace

Result<BudgetProfile> parse_budget_profile(std::string_view text) {
  CAIRN_TRY(const toml::table table, parse_checked_toml(text, "a profile"));
  return read_profile(table);
}

Result<std::string> render_budget_profile(const BudgetProfile& profile) {
  const bool some = !profile.shares.empty() && profile.shares.size() <= kMaxProfileLayers;
  if (!some || !is_profile_share(profile.keep) || !std::ranges::all_of(profile.shares, is_profile_share)) {
    return fail(ErrorCode::kInvalidArgument,
                "cannot write this profile: it needs a share above 0 and at most 1 for each layer, and their mean");
  }
  std::string text =
      "# How much each layer of a model keeps: use it with --policy NAME+profile=FILE.\ncairn_budgets = " +
      std::to_string(kBudgetProfileVersion) + "\n";
  if (profile.model) {
    text += "model = " + toml_string(profile.model->hex()) + "  # digest of the weights that it was found for\n";
  }
  text +=
      "keep = " + toml_number(profile.keep) + "  # mean of the shares; a policy that keeps another one scales them\n";
  text += "\n# Of the tokens, for each layer that has keys of its own and no window.\nshares = [\n";
  constexpr std::size_t kPerLine = 8;
  for (std::size_t l = 0; l < profile.shares.size(); l += kPerLine) {
    const std::size_t end = std::min(l + kPerLine, profile.shares.size());
    text += " ";
    for (std::size_t i = l; i < end; ++i) text += " " + toml_number(profile.shares[i]) + ",";
    text += "  # " + std::to_string(l) + (end - l > 1 ? " to " + std::to_string(end - 1) : "") + "\n";
  }
  text += "]\n";
  std::string found;
  for (const auto& [key, member] : kOrigin) {
    if (const std::string& value = profile.*member; !value.empty()) {
      found += std::string(key) + " = " + toml_string(as_toml_text(value)) + "\n";
    }
  }
  if (!found.empty()) text += "\n# How it was found. Nothing is decided by what follows.\n[found]\n" + found;
  return text;
}

Result<BudgetProfile> read_budget_profile(const std::string& path) {
  CAIRN_TRY(const std::vector<std::byte> bytes, read_file(path, kMaxTomlBytes));
  Result<BudgetProfile> profile = parse_budget_profile({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!profile) return fail(profile.error().code, "'" + path + "': " + profile.error().message);
  return profile;
}

Status write_budget_profile(const std::string& path, const BudgetProfile& profile) {
  CAIRN_TRY(const std::string text, render_budget_profile(profile));
  return write_file(path, text);
}

Status check_profile_layers(const PolicySpec& policy, std::size_t layers) {
  if (policy.profile == nullptr || policy.profile->shares.size() == layers) return {};
  return fail(ErrorCode::kInvalidArgument,
              "policy '" + policy.text + "': its profile is for " + std::to_string(policy.profile->shares.size()) +
                  " layers, and this model has " + std::to_string(layers) +
                  " with keys of their own and no window; 'cairn tune budgets' makes one for it");
}

Status check_profile_model(const PolicySpec& policy, const Digest& model) {
  if (policy.profile == nullptr || !policy.profile->model || *policy.profile->model == model) return {};
  return fail(ErrorCode::kInvalidArgument, "policy '" + policy.text +
                                               "': its profile is for another model; 'cairn tune budgets' makes one "
                                               "for this");
}

}  // namespace cairn

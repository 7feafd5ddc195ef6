// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/request_policies.h"

#include <algorithm>
#include <utility>

namespace cairn {
namespace {

constexpr std::string_view kFull = "full", kNone = "none", kAll = "all";

}  // namespace

Result<RequestPolicies> RequestPolicies::parse(std::span<const std::string> names) {
  RequestPolicies policies;
  for (const std::string& name : names) {
    if (name == kNone || name == kAll) {
      if (names.size() > 1) {
        return fail(ErrorCode::kInvalidArgument, "--request-policies: '" + name +
                                                     "' stands alone; 'full' among names lets a request switch the "
                                                     "server's policy off");
      }
      policies.all_ = name == kAll;
      return policies;
    }
    CAIRN_TRY(const PolicySpec policy, parse_policy(name));
    if (name != policy.name) {
      return fail(ErrorCode::kInvalidArgument,
                  "--request-policies takes names alone, and a request may give any parts: write '" + policy.name +
                      "' instead of '" + name + "'");
    }
    policies.names_.push_back(name);
  }
  return policies;
}

Status RequestPolicies::check(const KvCacheOptions& cache) const {
  for (const std::string& name : names_) {
    CAIRN_TRY(const PolicySpec policy, parse_policy(name));
    if (name != kFull) CAIRN_TRY_VOID(KvCache::check_policy(cache, policy));
  }
  return {};
}

// The scorer is most of what a policy costs (a replay computes the prompt twice), so a part may not bring in one that
// no allowed name has.
bool RequestPolicies::allows(const PolicySpec& policy) const {
  if (all_) return true;
  const auto has_scorer = [&](const std::string& name) { return parse_policy(name)->scorer == policy.scorer; };
  return std::ranges::find(names_, policy.name) != names_.end() &&
         (policy.scorer == nullptr || std::ranges::any_of(names_, has_scorer));
}

Result<std::optional<PolicySpec>> RequestPolicies::choose(std::string_view asked) const {
  if (!all_ && names_.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "requests may not choose a policy here; the server's option --request-policies lets them");
  }
  CAIRN_TRY(PolicySpec policy, parse_policy(asked == kNone ? kFull : asked, PolicyFiles::kRefuse));
  if (!allows(policy)) {
    return fail(ErrorCode::kInvalidArgument, "'" + policy.name +
                                                 "' may not be asked for here; the server's option "
                                                 "--request-policies allows " +
                                                 text());
  }
  if (policy.name == kFull) return std::nullopt;
  return policy;
}

std::string RequestPolicies::text() const {
  if (all_) return std::string(kAll);
  std::string text;
  for (const std::string& name : names_) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? std::string(kNone) : text;
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Which token policies a request may ask for instead of the server's own (docs/policies.md), as the operator says.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/cache/kv_cache.h"
#include "cairn/policy/policy.h"

namespace cairn {

// Immutable.
class RequestPolicies {
 public:
  RequestPolicies() = default;  // none

  // "none" or "all", alone, or names of policies; nothing is none. "full" lets a request switch the server's policy
  // off. Errors: kInvalidArgument.
  static Result<RequestPolicies> parse(std::span<const std::string> names);

  // Whether a cache can follow those that are named. kUnsupported says which it cannot; of "all" a request finds out.
  // Which model it is for does not matter: that is asked of profiles, which bare names and requests do not have.
  Status check(const KvCacheOptions& cache) const;

  // What a request asks for: a policy with its parts; empty for "full" and "none". Errors, one line each:
  // kInvalidArgument where it is not allowed here, and those of parse_policy.
  Result<std::optional<PolicySpec>> choose(std::string_view asked) const;

  std::string text() const;  // "none", "all", "quest, full"

 private:
  bool allows(const PolicySpec& policy) const;

  bool all_ = false;
  std::vector<std::string> names_;
};

}  // namespace cairn

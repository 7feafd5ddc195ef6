// SPDX-License-Identifier: Apache-2.0
// The parts of a policy as people write them: names, values, and where they are kept. No part of the module's
// interface.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cairn/policy/policy.h"

namespace cairn::parts {

struct Part {
  std::string_view name;
  std::string_view values;                                // for error messages
  bool (*set)(PolicySpec& spec, std::string_view value);  // false: no such value, and nothing has changed; null: see
                                                          // parse_policy()
  std::string (*get)(const PolicySpec& spec);
};

// In the order of the canonical text, and of setting: the scorer decides what parts there are, a task sets others.
std::span<const Part> all();
// Null where there is none.
const Part* find(std::string_view name);

}  // namespace cairn::parts

// SPDX-License-Identifier: Apache-2.0
// Arbitrary text as a profile of budgets: read or refused in one line, and what was read survives being written.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cairn/base/check.h"
#include "cairn/policy/budget_profile.h"

namespace cairn {
namespace {

void run(std::string_view text) {
  const auto profile = parse_budget_profile(text);
  if (!profile) {
    CAIRN_CHECK(!profile.error().message.empty());
    CAIRN_CHECK(profile.error().message.find('\n') == std::string::npos);
    return;
  }
  CAIRN_CHECK(!profile->shares.empty() && profile->shares.size() <= kMaxProfileLayers);
  for (const double share : profile->shares) CAIRN_CHECK(share > 0 && share <= 1);
  const auto rendered = render_budget_profile(*profile);
  CAIRN_CHECK(rendered.has_value());
  const auto again = parse_budget_profile(*rendered);
  CAIRN_CHECK(again.has_value());
  // What is for people is made printable, and then stays as it is.
  CAIRN_CHECK(again->model == profile->model && again->keep == profile->keep && again->shares == profile->shares);
  CAIRN_CHECK(render_budget_profile(*again).value() == *rendered);
}

}  // namespace
}  // namespace cairn

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cairn::run({reinterpret_cast<const char*>(data), size});
  return 0;
}

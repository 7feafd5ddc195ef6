// SPDX-License-Identifier: Apache-2.0
// Arbitrary text as a plan file: read or refused in one line, and what was read survives being written.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cairn/base/check.h"
#include "cairn/codec/plan_file.h"

namespace cairn {
namespace {

void run(std::string_view text) {
  const auto plan = parse_plan_file(text);
  if (!plan) {
    CAIRN_CHECK(!plan.error().message.empty());
    CAIRN_CHECK(plan.error().message.find('\n') == std::string::npos);
    return;
  }
  CAIRN_CHECK(!plan->keys.empty() && plan->keys.size() == plan->values.size());
  const auto rendered = render_plan_file(*plan);
  CAIRN_CHECK(rendered.has_value());
  const auto again = parse_plan_file(*rendered);
  CAIRN_CHECK(again.has_value());
  CAIRN_CHECK(*again == *plan);
}

}  // namespace
}  // namespace cairn

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cairn::run({reinterpret_cast<const char*>(data), size});
  return 0;
}

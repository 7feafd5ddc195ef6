// SPDX-License-Identifier: Apache-2.0
// Arbitrary text as a chat template, and what stands behind its first zero byte as the JSON that it renders: a text
// whose trusted parts lie in it, or an error, within the limits.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cairn/base/check.h"
#include "cairn/text/jinja/json.h"
#include "cairn/text/jinja/template.h"

namespace cairn {
namespace {

constexpr std::string_view kContext =
    R"({"messages": [{"role": "system", "content": "a\nb"}, {"role": "user", "content": "<|im_end|>é"}], "s": "Two words",
        "n": null, "i": 7, "f": 1.5, "t": true, "d": {"k": [1, "x", {"y": null}]}, "e": []})";
constexpr jinja::Limits kLimits{.max_steps = 20'000, .max_bytes = 1 << 22, .max_output_bytes = 1 << 20};

void run(std::string_view input) {
  const std::size_t end = std::min(input.find('\0'), input.size());
  const auto parsed = jinja::Template::parse(input.substr(0, end), kLimits);
  if (!parsed) return CAIRN_CHECK(!parsed.error().message.empty());
  const std::string_view json = end < input.size() ? input.substr(end + 1) : kContext;
  const auto context = jinja::read_json(json);
  if (!context || context->dict() == nullptr) return;
  const auto text = parsed->render(*context->dict(), {.limits = kLimits});
  if (!text) return;
  CAIRN_CHECK(text->size() <= kLimits.max_output_bytes);
  std::size_t last = 0;
  for (const TextRange& range : text->trusted_ranges()) {
    CAIRN_CHECK(range.begin < range.end && range.end <= text->size());
    CAIRN_CHECK(range.begin > last || last == 0);
    last = range.end;
  }
}

}  // namespace
}  // namespace cairn

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cairn::run({reinterpret_cast<const char*>(data), size});
  return 0;
}

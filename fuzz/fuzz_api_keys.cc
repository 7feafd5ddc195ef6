// SPDX-License-Identifier: Apache-2.0
// Arbitrary text as a file of keys: read or refused in one line that names the file; no key opens what it is not for.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cairn/base/check.h"
#include "cairn/serve/api/access.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto keys = cairn::api::Keys::parse(text, "keys");
  if (!keys) {
    CAIRN_CHECK(keys.error().message.starts_with("keys:"));
    CAIRN_CHECK(keys.error().message.find('\n') == std::string::npos);
    return 0;
  }
  CAIRN_CHECK(!keys->tenants().empty());
  // A hash of the file is no key: only "sesame", whose hash a seed holds, is.
  for (const auto& [tenant, limits] : keys->tenants()) CAIRN_CHECK(!keys->tenant_of(tenant));
  if (const auto tenant = keys->tenant_of("sesame")) CAIRN_CHECK(keys->tenants().contains(*tenant));
  return 0;
}

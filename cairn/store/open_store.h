// SPDX-License-Identifier: Apache-2.0
// From what a person writes to a store: "redis://host", "ram:512MiB" or a folder, fastest first.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/store.h"
#include "cairn/store/store.h"

namespace cairn {

struct OpenedStore {
  std::shared_ptr<Store> store;       // null when no tier opened
  std::vector<std::string> warnings;  // one line for each tier that did not, or whose blocks need another key
};

// "512MiB", "10GiB", "4096": kInvalidArgument for other texts.
Result<std::uint64_t> parse_bytes(const std::string& text);

// Errors: kInvalidArgument for a text that names no tier, an unknown policy, a bad key file; with `required` also
// whatever a tier says.
Result<std::unique_ptr<Tier>> open_tier(const std::string& text, const StoreConfig& config);
Result<OpenedStore> open_store(const StoreConfig& config);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// From what a person writes to a store: "redis://host", "ram:512MiB" or a folder, fastest first.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/store/store.h"

namespace cairn {

struct StoreConfig {
  std::vector<std::string> tiers;  // a folder, ram:SIZE, redis://..., unix://...
  std::uint64_t disk_bytes = std::uint64_t{10} << 30;
  std::uint64_t tenant_bytes = 0;  // most that one tenant may hold in a tier; 0: no limit of its own
  std::string tenant;              // whose prefixes a command reads and writes; not a matter of opening
  std::string policy = "cost";
  std::int64_t ttl_s = 0;  // 0: blocks do not expire
  std::string key_file;    // encrypts what is stored
  bool required = false;   // a tier that does not open is an error
  bool read_only = false;
};

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

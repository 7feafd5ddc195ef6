// SPDX-License-Identifier: Apache-2.0
// Who may ask: keys are kept as hashes, each belongs to a tenant.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"

namespace cairn {

// As a line of the file gives them; 0: what the server gives to all.
struct KeyLimits {
  std::size_t max_running = 0, max_waiting = 0, kv_bytes = 0;
  bool operator==(const KeyLimits&) const = default;
};

// Domain "cairn.api-key.v1". Keys are long random texts, so a fast hash is enough.
Digest hash_api_key(std::string_view key);

// Immutable and thread-safe.
class ApiKeys {
 public:
  // Lines of "TENANT HASH [running=N] [waiting=N] [kv=SIZE]"; '#' begins a comment. Several keys may belong to a
  // tenant, whose limits stand on any of its lines. Errors: kInvalidArgument, naming the line; a file without a key is
  // one.
  static Result<ApiKeys> parse(std::string_view text, const std::string& name);
  // Errors: those of read_file and parse.
  static Result<ApiKeys> read(const std::string& path);

  // The tenant of a key. The time depends on the number of keys alone.
  std::optional<std::string> tenant_of(std::string_view key) const;
  const std::map<std::string, KeyLimits>& tenants() const { return tenants_; }

 private:
  struct Entry {
    Digest hash;
    std::string tenant;
  };
  std::vector<Entry> entries_;
  std::map<std::string, KeyLimits> tenants_;
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/open_store.h"

#include <charconv>
#include <utility>

#include "cairn/store/disk/disk_tier.h"
#include "cairn/store/ram_tier.h"
#include "cairn/store/redis/redis_tier.h"

namespace cairn {

Result<std::uint64_t> parse_bytes(const std::string& text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string unit(end, text.data() + text.size());
  unsigned shift = 0;
  bool known = error == std::errc();
  if (unit == "KiB" || unit == "K") {
    shift = 10;
  } else if (unit == "MiB" || unit == "M") {
    shift = 20;
  } else if (unit == "GiB" || unit == "G") {
    shift = 30;
  } else if (unit == "TiB" || unit == "T") {
    shift = 40;
  } else if (!unit.empty() && unit != "B") {
    known = false;
  }
  if (!known || number > UINT64_MAX >> shift) {
    return fail(ErrorCode::kInvalidArgument, "'" + text + "' is no size: write 512MiB or 10GiB");
  }
  return number << shift;
}

Result<std::unique_ptr<Tier>> open_tier(const std::string& text, const StoreConfig& config) {
  ResidencyOptions residency{.tenant_budget_bytes = config.tenant_bytes, .policy = config.policy};
  if (text.starts_with("ram:")) {
    CAIRN_TRY(residency.budget_bytes, parse_bytes(text.substr(4)));
    if (residency.budget_bytes == 0) return fail(ErrorCode::kInvalidArgument, "'" + text + "' holds nothing");
    CAIRN_TRY(auto tier, RamTier::create(std::move(residency)));
    return tier;
  }
  if (text.starts_with("redis://") || text.starts_with("rediss://") || text.starts_with("unix://")) {
    RedisTierOptions options{.url = text};
    if (config.ttl_s > 0) options.ttl = std::chrono::seconds(config.ttl_s);
    return redis::open_tier(std::move(options));
  }
  if (const std::size_t colon = text.find("://"); colon != std::string::npos) {
    return fail(ErrorCode::kInvalidArgument,
                "'" + text.substr(0, colon) + "' is no kind of store: give a folder, ram:SIZE or redis://HOST");
  }
  if (text.empty()) return fail(ErrorCode::kInvalidArgument, "the store's name is empty: give a folder");
  residency.budget_bytes = config.disk_bytes;
  if (config.disk_bytes == 0)
    return fail(ErrorCode::kInvalidArgument, "a store of 0 bytes in '" + text + "' holds nothing");
  CAIRN_TRY(auto tier,
            DiskTier::open({.folder = text, .residency = std::move(residency), .read_only = config.read_only}));
  return tier;
}

namespace {

// What some blocks say about the key when it reads none of them: a store may hold blocks from before there was a key.
// Empty also when nothing is known at once.
std::string key_trouble(Tier& tier, const StoreKey* key) {
  if (tier.stats().blocks == 0) return {};
  const Deadline deadline = deadline_in(std::chrono::seconds(1));
  constexpr std::size_t kSamples = 8;
  std::vector<Digest> keys;
  const auto take = [&](const StoredBlock& block) {
    keys.push_back(block.meta.key);
    return keys.size() < kSamples;
  };
  (void)tier.list(take, deadline);
  std::string_view why;
  bool readable = false;
  for (std::size_t i = 0; i < keys.size() && !readable; ++i) {
    tier.get({&keys[i], 1}, deadline, [&](std::size_t, BlockStatus, std::shared_ptr<const BlockRecord> record) {
      if (record == nullptr || !record->sound()) return;
      const std::string_view reason = record->unreadable_with(key);
      readable = reason.empty();
      why = reason;
    });
  }
  return why.empty() ? "" : "blocks in " + tier.name() + " are of no use here: " + std::string(why);
}

}  // namespace

Result<OpenedStore> open_store(const StoreConfig& config) {
  StoreOptions options{.ttl_s = config.ttl_s};
  if (!config.key_file.empty()) {
    CAIRN_TRY(options.key, StoreKey::from_file(config.key_file));
  }
  OpenedStore opened;
  for (const std::string& text : config.tiers) {
    Result<std::unique_ptr<Tier>> tier = open_tier(text, config);
    if (tier) {
      const std::string trouble = key_trouble(**tier, options.key ? &*options.key : nullptr);
      if (!trouble.empty() && config.required) return fail(ErrorCode::kInvalidArgument, trouble);
      if (!trouble.empty()) opened.warnings.push_back(trouble);
      options.tiers.push_back(*std::move(tier));
    } else if (config.required) {
      return std::unexpected(std::move(tier).error());
    } else {
      opened.warnings.push_back("going on without this store: " + std::move(tier).error().message);
    }
  }
  if (!options.tiers.empty()) opened.store = std::make_shared<Store>(std::move(options));
  return opened;
}

}  // namespace cairn

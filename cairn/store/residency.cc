// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/residency.h"

#include <algorithm>
#include <ctime>
#include <utility>

namespace cairn {

std::int64_t unix_seconds() {
  return static_cast<std::int64_t>(std::time(nullptr));
}

Result<Residency> Residency::create(ResidencyOptions options) {
  Residency residency(std::move(options));
  CAIRN_TRY(residency.policy_, make_eviction_policy(residency.options_.policy, residency.options_.budget_bytes));
  return residency;
}

std::uint64_t Residency::tenant_budget(std::uint64_t tenant) const {
  if (const auto found = options_.tenant_budgets.find(tenant); found != options_.tenant_budgets.end()) {
    return found->second;
  }
  return options_.tenant_budget_bytes == 0 ? options_.budget_bytes : options_.tenant_budget_bytes;
}

std::uint64_t Residency::tenant_bytes(std::uint64_t tenant) const {
  const auto found = tenant_bytes_.find(tenant);
  return found == tenant_bytes_.end() ? 0 : found->second;
}

bool Residency::may_go(const Item& item, std::int64_t now_s) const {
  return item.pinned_until_s <= now_s && passed(item.leased_until);
}

void Residency::add(const BlockMeta& meta, std::uint64_t bytes) {
  items_[meta.key] = {.bytes = bytes, .tenant = meta.tenant};
  tenant_bytes_[meta.tenant] += bytes;
  bytes_ += bytes;
  policy_->inserted({.key = meta.key, .parent = meta.parent, .bytes = bytes, .depth = meta.depth, .tenant = meta.tenant});
}

bool Residency::restore(const BlockMeta& meta, std::uint64_t bytes) {
  if (items_.contains(meta.key) || bytes_ + bytes > options_.budget_bytes ||
      tenant_bytes(meta.tenant) + bytes > tenant_budget(meta.tenant)) {
    return false;
  }
  add(meta, bytes);
  return true;
}

// A tenant that is over its budget pays with its own blocks; when the whole is full, any block may go.
Residency::Admission Residency::admit(const BlockMeta& meta, std::uint64_t bytes) {
  Admission admission;
  if (items_.contains(meta.key)) return admission;
  if (bytes > options_.budget_bytes || bytes > tenant_budget(meta.tenant)) return admission;
  const std::int64_t now_s = unix_seconds();
  std::uint64_t freed = 0, freed_of_tenant = 0;
  const auto lacks_for_tenant = [&] {
    return tenant_bytes(meta.tenant) - freed_of_tenant + bytes > tenant_budget(meta.tenant);
  };
  // Chosen first and removed afterwards, so that a refusal costs nobody a block.
  std::unordered_map<Digest, bool, DigestHash> chosen;
  while (lacks_for_tenant() || bytes_ - freed + bytes > options_.budget_bytes) {
    const bool own = lacks_for_tenant();
    const std::optional<Digest> victim = policy_->victim([&](const Digest& key) {
      const auto found = items_.find(key);
      return found != items_.end() && key != meta.parent && !chosen.contains(key) && may_go(found->second, now_s) &&
             (!own || found->second.tenant == meta.tenant);
    });
    if (!victim) return admission;
    const Item& item = items_.at(*victim);
    chosen.emplace(*victim, true);
    admission.evict.push_back(*victim);
    freed += item.bytes;
    if (item.tenant == meta.tenant) freed_of_tenant += item.bytes;
  }
  for (const Digest& key : admission.evict) removed(key);
  add(meta, bytes);
  admission.admitted = true;
  return admission;
}

void Residency::used(const Digest& key) {
  if (items_.contains(key)) policy_->used(key);
}

void Residency::removed(const Digest& key) {
  const auto found = items_.find(key);
  if (found == items_.end()) return;
  bytes_ -= found->second.bytes;
  const auto tenant = tenant_bytes_.find(found->second.tenant);
  tenant->second -= found->second.bytes;
  if (tenant->second == 0) tenant_bytes_.erase(tenant);
  items_.erase(found);
  policy_->removed(key);
}

bool Residency::pin(const Digest& key, std::int64_t until_s) {
  const auto found = items_.find(key);
  if (found == items_.end()) return false;
  found->second.pinned_until_s = until_s;
  return true;
}

std::int64_t Residency::pinned_until(const Digest& key) const {
  const auto found = items_.find(key);
  return found == items_.end() ? 0 : found->second.pinned_until_s;
}

void Residency::lease(const Digest& key, Deadline until) {
  const auto found = items_.find(key);
  if (found != items_.end()) found->second.leased_until = std::max(found->second.leased_until, until);
}

void Residency::end_lease(const Digest& key) {
  const auto found = items_.find(key);
  if (found != items_.end()) found->second.leased_until = {};
}

}  // namespace cairn

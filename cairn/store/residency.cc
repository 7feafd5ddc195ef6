// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/residency.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "cairn/base/check.h"

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

void Residency::count_child(const Digest& parent, int change) {
  std::uint32_t& count = children_[parent];
  count = static_cast<std::uint32_t>(static_cast<int>(count) + change);
  if (count == 0) children_.erase(parent);
}

void Residency::add(const BlockMeta& meta, std::uint64_t bytes) {
  Item& item = items_[meta.key];
  item.what = {.key = meta.key, .parent = meta.parent, .bytes = bytes, .depth = meta.depth, .tenant = meta.tenant};
  tenant_bytes_[meta.tenant] += bytes;
  bytes_ += bytes;
  count_child(meta.parent, 1);
  policy_->inserted(item.what);
}

bool Residency::restore(const BlockMeta& meta, std::uint64_t bytes) {
  if (items_.contains(meta.key)) return false;
  add(meta, bytes);
  return true;
}

std::vector<Digest> Residency::shrink() {
  std::vector<Digest> gone;
  const std::int64_t now_s = unix_seconds();
  for (const bool pinned_too : {false, true}) {
    const auto evict_while = [&](const auto& over, const auto& eligible) {
      while (over()) {
        const std::optional<Digest> victim = policy_->victim([&](const Digest& key) {
          const Item& item = items_.at(key);
          return !has_children(key) && (pinned_too || may_go(item, now_s)) && eligible(item);
        });
        if (!victim) return;
        gone.push_back(*victim);
        removed(*victim);
      }
    };
    std::vector<std::uint64_t> tenants;
    for (const auto& [tenant, bytes] : tenant_bytes_) tenants.push_back(tenant);
    for (const std::uint64_t tenant : tenants) {
      evict_while([&] { return tenant_bytes(tenant) > tenant_budget(tenant); },
                  [&](const Item& item) { return item.what.tenant == tenant; });
    }
    evict_while([&] { return bytes_ > options_.budget_bytes; }, [](const Item&) { return true; });
  }
  return gone;
}

// A tenant that is over its budget pays with its own blocks; when the whole is full, any block may go.
Residency::Admission Residency::admit(const BlockMeta& meta, std::uint64_t bytes) {
  Admission admission;
  if (items_.contains(meta.key)) return admission;
  if (bytes > options_.budget_bytes || bytes > tenant_budget(meta.tenant)) return admission;
  const std::int64_t now_s = unix_seconds();
  const bool reachable = meta.depth == 0 || items_.contains(meta.parent);
  std::uint64_t freed = 0, freed_of_tenant = 0;
  const auto lacks_for_tenant = [&] {
    return tenant_bytes(meta.tenant) - freed_of_tenant + bytes > tenant_budget(meta.tenant);
  };
  while (lacks_for_tenant() || bytes_ - freed + bytes > options_.budget_bytes) {
    const bool own = lacks_for_tenant();
    const std::optional<Digest> victim = !reachable ? std::nullopt : policy_->victim([&](const Digest& key) {
      const Item& item = items_.at(key);
      return key != meta.parent && !has_children(key) && may_go(item, now_s) &&
             (!own || item.what.tenant == meta.tenant);
    });
    if (!victim) {
      // Nobody loses a block to one that is refused. Parents first: a policy may look at them.
      for (std::size_t i = admission.evict.size(); i-- > 0;) {
        const EvictionItem& what = items_.at(admission.evict[i]).what;
        count_child(what.parent, 1);
        policy_->inserted(what);
      }
      admission.evict.clear();
      return admission;
    }
    // Gone for the policy at once: with the last of its children chosen, a parent may be the next.
    policy_->removed(*victim);
    const Item& item = items_.at(*victim);
    count_child(item.what.parent, -1);
    admission.evict.push_back(*victim);
    freed += item.what.bytes;
    if (item.what.tenant == meta.tenant) freed_of_tenant += item.what.bytes;
  }
  for (const Digest& key : admission.evict) {
    count_child(items_.at(key).what.parent, 1);  // removed() counts it down
    removed(key);
  }
  add(meta, bytes);
  admission.admitted = true;
  return admission;
}

bool Residency::has_room(std::uint64_t tenant, std::uint64_t bytes_of_tenant, std::uint64_t bytes) const {
  return bytes_ + bytes <= options_.budget_bytes && tenant_bytes(tenant) + bytes_of_tenant <= tenant_budget(tenant);
}

void Residency::resized(const Digest& key, std::uint64_t bytes) {
  const auto found = items_.find(key);
  if (found == items_.end()) return;
  EvictionItem& item = found->second.what;
  CAIRN_CHECK(bytes <= item.bytes);
  bytes_ -= item.bytes - bytes;
  tenant_bytes_[item.tenant] -= item.bytes - bytes;
  item.bytes = bytes;
  policy_->resized(key, bytes);
}

void Residency::used(const Digest& key) {
  if (items_.contains(key)) policy_->used(key);
}

void Residency::removed(const Digest& key) {
  const auto found = items_.find(key);
  if (found == items_.end()) return;
  bytes_ -= found->second.what.bytes;
  const auto tenant = tenant_bytes_.find(found->second.what.tenant);
  tenant->second -= found->second.what.bytes;
  count_child(found->second.what.parent, -1);
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

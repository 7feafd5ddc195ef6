// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/residency.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <span>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/base/checksum.h"
#include "cairn/base/file.h"

namespace cairn {
namespace {

constexpr std::size_t kMaxGone = 65536;
constexpr std::size_t kGoneEntryBytes = 9;  // id, why

std::uint64_t id_of(const Digest& key) {
  std::uint64_t id;
  std::memcpy(&id, key.bytes.data(), sizeof id);
  return id;
}

}  // namespace

std::int64_t unix_seconds() {
  return static_cast<std::int64_t>(std::time(nullptr));
}

Result<Residency> Residency::create(ResidencyOptions options) {
  const auto known = make_eviction_policy(options.policy, options.budget_bytes);
  if (!known) return std::unexpected(known.error());
  return Residency(std::move(options));
}

std::uint64_t Residency::tenant_budget() const {
  return options_.tenant_budget_bytes == 0 ? options_.budget_bytes : options_.tenant_budget_bytes;
}

std::uint64_t Residency::tenant_bytes(std::uint64_t tenant) const {
  const auto found = tenants_.find(tenant);
  return found == tenants_.end() ? 0 : found->second.bytes;
}

bool Residency::may_go(const Item& item, std::int64_t now_s) const {
  return item.pinned_until_s <= now_s && passed(item.leased_until) && passed(item.used_until);
}

void Residency::count_child(const Digest& parent, int change) {
  std::uint32_t& count = children_[parent];
  count = static_cast<std::uint32_t>(static_cast<int>(count) + change);
  if (count == 0) children_.erase(parent);
}

void Residency::add(const BlockMeta& meta, std::uint64_t bytes) {
  Item& item = items_[meta.key];
  item.what = {.key = meta.key, .parent = meta.parent, .bytes = bytes, .depth = meta.depth, .tenant = meta.tenant};
  Tenant& tenant = tenants_[meta.tenant];
  if (tenant.policy == nullptr) tenant.policy = *make_eviction_policy(options_.policy, 0);  // it sees a part alone
  tenant.bytes += bytes;
  bytes_ += bytes;
  count_child(meta.parent, 1);
  tenant.policy->inserted(item.what);
}

bool Residency::restore(const BlockMeta& meta, std::uint64_t bytes) {
  if (items_.contains(meta.key)) return false;
  add(meta, bytes);
  return true;
}

// The tenant with the most bytes comes first.
std::vector<Residency::Holder> Residency::holders(const Freed& freed) const {
  std::vector<Holder> holders;
  for (const auto& [tenant, of] : tenants_) {
    const auto gone = freed.find(tenant);
    holders.push_back({of.bytes - (gone == freed.end() ? 0 : gone->second), tenant});
  }
  std::ranges::sort(holders, [](const Holder& a, const Holder& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.tenant < b.tenant;
  });
  return holders;
}

std::vector<Digest> Residency::shrink() {
  std::vector<Digest> gone;
  const std::int64_t now_s = unix_seconds();
  for (const bool pinned_too : {false, true}) {
    const auto evict_one = [&](const Holder& holder) {
      const std::optional<Digest> victim = tenants_.at(holder.tenant).policy->victim([&](const Digest& key) {
        return !has_children(key) && (pinned_too || may_go(items_.at(key), now_s));
      });
      if (!victim) return false;
      gone.push_back(*victim);
      removed(*victim);
      return true;
    };
    for (const Holder& holder : holders({})) {
      while (tenant_bytes(holder.tenant) > tenant_budget()) {
        if (!evict_one(holder)) break;
      }
    }
    while (bytes_ > options_.budget_bytes) {
      if (!std::ranges::any_of(holders({}), evict_one)) break;
    }
  }
  return gone;
}

std::optional<Digest> Residency::victim_for(const BlockMeta& meta, std::uint64_t bytes, const Freed& freed) {
  const std::int64_t now_s = unix_seconds();
  const std::vector<Holder> all = holders(freed);
  const std::size_t tenants = all.size() + (tenants_.contains(meta.tenant) ? 0 : 1);
  const std::uint64_t share = options_.budget_bytes / tenants;
  const auto own = std::ranges::find(all, meta.tenant, &Holder::tenant);
  const std::uint64_t own_bytes = bytes + (own == all.end() ? 0 : own->bytes);
  for (const Holder& holder : all) {
    const bool is_own = holder.tenant == meta.tenant;
    if (!is_own && (own_bytes > tenant_budget() || holder.bytes <= share)) continue;
    auto victim = tenants_.at(holder.tenant).policy->victim([&](const Digest& key) {
      return key != meta.parent && !has_children(key) && may_go(items_.at(key), now_s);
    });
    if (victim) return victim;
  }
  return std::nullopt;
}

Residency::Admission Residency::admit(const BlockMeta& meta, std::uint64_t bytes) {
  Admission admission;
  if (items_.contains(meta.key)) return admission;
  if (bytes > options_.budget_bytes || bytes > tenant_budget()) return admission;
  const bool reachable = meta.depth == 0 || items_.contains(meta.parent);
  Freed freed;
  std::uint64_t all_freed = 0;
  while (bytes_ - all_freed + bytes > options_.budget_bytes ||
         tenant_bytes(meta.tenant) - freed[meta.tenant] + bytes > tenant_budget()) {
    const std::optional<Digest> victim = reachable ? victim_for(meta, bytes, freed) : std::nullopt;
    if (!victim) {
      // A refused block costs no other its place.
      for (std::size_t i = admission.evict.size(); i-- > 0;) {
        const Item& item = items_.at(admission.evict[i]);
        count_child(item.what.parent, 1);
        policy_of(item).kept(item.what);
      }
      admission.evict.clear();
      return admission;
    }
    // Gone for the policy at once: with the last of its children chosen, a parent may be the next.
    const Item& item = items_.at(*victim);
    policy_of(item).removed(*victim);
    count_child(item.what.parent, -1);
    admission.evict.push_back(*victim);
    freed[item.what.tenant] += item.what.bytes;
    all_freed += item.what.bytes;
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
  return bytes_ + bytes <= options_.budget_bytes && tenant_bytes(tenant) + bytes_of_tenant <= tenant_budget();
}

void Residency::resized(const Digest& key, std::uint64_t bytes) {
  const auto found = items_.find(key);
  if (found == items_.end()) return;
  EvictionItem& item = found->second.what;
  CAIRN_CHECK(bytes <= item.bytes);
  bytes_ -= item.bytes - bytes;
  tenants_.at(item.tenant).bytes -= item.bytes - bytes;
  item.bytes = bytes;
  policy_of(found->second).resized(key, bytes);
}

void Residency::used(const Digest& key) {
  const auto found = items_.find(key);
  if (found != items_.end()) policy_of(found->second).used(key);
}

void Residency::removed(const Digest& key) {
  const auto found = items_.find(key);
  if (found == items_.end()) return;
  const EvictionItem what = found->second.what;
  bytes_ -= what.bytes;
  count_child(what.parent, -1);
  items_.erase(found);
  const auto tenant = tenants_.find(what.tenant);
  tenant->second.bytes -= what.bytes;
  tenant->second.policy->removed(key);
  if (tenant->second.bytes == 0) tenants_.erase(tenant);
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
  if (found == items_.end()) return;
  Item& item = found->second;
  if (passed(item.leased_until)) item.leases = 0;  // by readers that never came
  ++item.leases;
  item.leased_until = std::max(item.leased_until, until);
}

void Residency::begin_use(const Digest& key, Deadline until) {
  const auto found = items_.find(key);
  if (found == items_.end()) return;
  ++found->second.users;
  found->second.used_until = std::max(found->second.used_until, until);
}

void Residency::end_use(const Digest& key) {
  const auto found = items_.find(key);
  if (found == items_.end() || found->second.users == 0) return;  // it went, and came again
  Item& item = found->second;
  if (--item.users == 0) item.used_until = {};
  if (item.leases > 0 && --item.leases == 0) item.leased_until = {};
}

bool EvictionHistory::holds(const std::pair<std::uint64_t, std::uint64_t>& entry) const {
  const auto found = why_.find(entry.first);
  return found != why_.end() && found->second.number == entry.second;
}

void EvictionHistory::add(std::uint64_t id, Gone why) {
  const auto [entry, is_new] = why_.try_emplace(id, Entry{why, next_});
  entry->second.why = why;
  if (is_new) order_.emplace_back(id, next_++);
  while (why_.size() > kMaxGone) {
    if (holds(order_.front())) why_.erase(order_.front().first);
    order_.pop_front();
  }
  if (order_.size() > 2 * kMaxGone) std::erase_if(order_, [&](const auto& of) { return !holds(of); });
}

void EvictionHistory::note(const Digest& key, Gone why) {
  if (why != Gone::kUnknown) add(id_of(key), why);
}

void EvictionHistory::forget(const Digest& key) {
  why_.erase(id_of(key));
}

Gone EvictionHistory::find(const Digest& key) const {
  const auto found = why_.find(id_of(key));
  return found == why_.end() ? Gone::kUnknown : found->second.why;
}

std::vector<std::byte> EvictionHistory::bytes() const {
  std::vector<std::byte> out;
  for (const auto& entry : order_) {
    if (!holds(entry)) continue;
    const std::uint64_t id = entry.first;
    const auto* bytes = reinterpret_cast<const std::byte*>(&id);
    out.insert(out.end(), bytes, bytes + sizeof id);
    out.push_back(static_cast<std::byte>(why_.at(id).why));
  }
  const std::uint64_t sum = checksum(out);
  const auto* bytes = reinterpret_cast<const std::byte*>(&sum);
  out.insert(out.end(), bytes, bytes + sizeof sum);
  return out;
}

void EvictionHistory::load(const std::string& path) {
  const auto file = read_file(path, kMaxGone * kGoneEntryBytes + sizeof(std::uint64_t));
  if (!file || file->size() < sizeof(std::uint64_t)) return;
  const auto entries = std::span<const std::byte>(*file).first(file->size() - sizeof(std::uint64_t));
  std::uint64_t sum;
  std::memcpy(&sum, file->data() + entries.size(), sizeof sum);
  if (sum != checksum(entries) || entries.size() % kGoneEntryBytes != 0) return;
  for (std::size_t at = 0; at < entries.size(); at += kGoneEntryBytes) {
    std::uint64_t id;
    std::memcpy(&id, entries.data() + at, sizeof id);
    const auto why = static_cast<std::uint8_t>(entries[at + 8]);
    if (why <= static_cast<std::uint8_t>(Gone::kForeign)) add(id, static_cast<Gone>(why));
  }
}

}  // namespace cairn

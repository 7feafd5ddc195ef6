// SPDX-License-Identifier: Apache-2.0
#include "cairn/sched/shared_bytes.h"

#include <algorithm>

namespace cairn {

SharedBytes::Change SharedBytes::change_of(const GrowthBytes& growth, std::span<const Digest> keys) const {
  std::size_t known = 0, shared_now = 0;
  Change change;
  for (std::size_t b = 0; b < keys.size(); ++b) {
    const auto owner = owners_.find(keys[b]);
    if (owner == owners_.end() && !held_->contains(keys[b])) continue;
    const std::size_t bytes = (*block_bytes_)(b);
    known += bytes;
    if (owner == owners_.end() || owner->second == kShared) continue;
    change.moved[owner->second] += bytes;
    shared_now += bytes;
  }
  change.part = {.own = growth.whole - std::min(growth.whole, known), .packed = growth.packed};
  change.total = total_ + shared_now + change.part.bytes();
  for (const auto& [number, bytes] : change.moved) {
    const Part& before = parts_[number];
    const Part after{.own = before.own - std::min(before.own, bytes), .packed = before.packed};
    change.total -= before.bytes() - after.bytes();
  }
  return change;
}

std::size_t SharedBytes::with(const GrowthBytes& growth, std::span<const Digest> keys) const {
  return change_of(growth, keys).total;
}

void SharedBytes::add(const GrowthBytes& growth, std::span<const Digest> keys) {
  const Change change = change_of(growth, keys);
  for (const auto& [number, bytes] : change.moved) parts_[number].own -= std::min(parts_[number].own, bytes);
  for (const Digest& key : keys) {
    if (held_->contains(key)) continue;
    const auto [owner, is_new] = owners_.try_emplace(key, parts_.size());
    if (!is_new) owner->second = kShared;
  }
  parts_.push_back(change.part);
  total_ = change.total;
}

}  // namespace cairn

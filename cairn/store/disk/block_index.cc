// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/disk/block_index.h"

#include <utility>

#include "cairn/base/check.h"

namespace cairn::disk {
namespace {

BlockMeta without_parts(BlockMeta meta) {
  meta.parts.clear();
  return meta;
}

}  // namespace

Result<BlockIndex> BlockIndex::create(ResidencyOptions options) {
  CAIRN_TRY(Residency residency, Residency::create(std::move(options)));
  return BlockIndex(std::move(residency));
}

const BlockIndex::Entry* BlockIndex::find(const Digest& key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : &found->second;
}

void BlockIndex::for_each(const std::function<void(const Entry&)>& visitor) const {
  for (const auto& [key, entry] : entries_) visitor(entry);
}

std::optional<std::vector<Digest>> BlockIndex::admit(const BlockMeta& meta, std::uint64_t bytes) {
  Residency::Admission admission = residency_.admit(meta, bytes);
  if (!admission.admitted) {
    CAIRN_CHECK(admission.evict.empty());
    return std::nullopt;
  }
  residency_.begin_use(meta.key, Deadline::max());
  return std::move(admission.evict);
}

void BlockIndex::insert(const BlockMeta& meta, Place place) {
  entries_.emplace(meta.key, Entry{std::move(place), without_parts(meta)});
  gone_.forget(meta.key);
  residency_.end_use(meta.key);
}

void BlockIndex::withdraw(const Digest& key) {
  residency_.removed(key);
}

bool BlockIndex::restore(const BlockMeta& meta, const Place& place) {
  if (contains(meta.key) || !residency_.restore(meta, place.bytes)) return false;
  entries_.emplace(meta.key, Entry{place, without_parts(meta)});
  return true;
}

std::optional<Place> BlockIndex::erase(const Digest& key, Gone why) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return std::nullopt;
  gone_.note(key, why);
  residency_.removed(key);
  Place place = std::move(found->second.place);
  entries_.erase(found);
  return place;
}

Place BlockIndex::move(const BlockMeta& meta, Place place) {
  residency_.resized(meta.key, place.bytes);
  return std::exchange(entries_.at(meta.key), Entry{std::move(place), without_parts(meta)}).place;
}

Place BlockIndex::exchange(const BlockMeta& meta, Place place) {
  const std::int64_t pinned_until_s = residency_.pinned_until(meta.key);
  residency_.removed(meta.key);
  (void)residency_.restore(meta, place.bytes);
  (void)residency_.pin(meta.key, pinned_until_s);
  return std::exchange(entries_.at(meta.key), Entry{std::move(place), without_parts(meta)}).place;
}

std::vector<Digest> BlockIndex::shrink() {
  return residency_.shrink();
}

std::vector<Digest> BlockIndex::in_segment(const Segment& segment) const {
  std::vector<Digest> keys;
  for (const auto& [key, entry] : entries_) {
    if (entry.place.segment.get() == &segment) keys.push_back(key);
  }
  return keys;
}

void BlockIndex::note_foreign(const Digest& key, std::uint32_t version) {
  ++foreign_;
  foreign_version_ = version;
  gone_.note(key, Gone::kForeign);
}

}  // namespace cairn::disk

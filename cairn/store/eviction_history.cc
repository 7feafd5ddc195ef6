// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/eviction_history.h"

#include <cstring>
#include <span>

#include "cairn/base/checksum.h"
#include "cairn/base/file.h"

namespace cairn {
namespace {

constexpr std::size_t kMax = 65536;
constexpr std::size_t kEntryBytes = 9;  // id, why

std::uint64_t id_of(const Digest& key) {
  std::uint64_t id;
  std::memcpy(&id, key.bytes.data(), sizeof id);
  return id;
}

}  // namespace

bool EvictionHistory::holds(const std::pair<std::uint64_t, std::uint64_t>& entry) const {
  const auto found = why_.find(entry.first);
  return found != why_.end() && found->second.number == entry.second;
}

void EvictionHistory::add(std::uint64_t id, Gone why) {
  const auto [entry, is_new] = why_.try_emplace(id, Entry{why, next_});
  entry->second.why = why;
  if (is_new) order_.emplace_back(id, next_++);
  while (why_.size() > kMax) {
    if (holds(order_.front())) why_.erase(order_.front().first);
    order_.pop_front();
  }
  if (order_.size() > 2 * kMax) std::erase_if(order_, [&](const auto& of) { return !holds(of); });
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
  const auto file = read_file(path, kMax * kEntryBytes + sizeof(std::uint64_t));
  if (!file || file->size() < sizeof(std::uint64_t)) return;
  const auto entries = std::span<const std::byte>(*file).first(file->size() - sizeof(std::uint64_t));
  std::uint64_t sum;
  std::memcpy(&sum, file->data() + entries.size(), sizeof sum);
  if (sum != checksum(entries) || entries.size() % kEntryBytes != 0) return;
  for (std::size_t at = 0; at < entries.size(); at += kEntryBytes) {
    std::uint64_t id;
    std::memcpy(&id, entries.data() + at, sizeof id);
    const auto why = static_cast<std::uint8_t>(entries[at + 8]);
    if (why <= static_cast<std::uint8_t>(Gone::kForeign)) add(id, static_cast<Gone>(why));
  }
}

}  // namespace cairn

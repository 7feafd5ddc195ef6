// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/gone_log.h"

#include <cstring>
#include <span>
#include <vector>

#include "cairn/base/checksum.h"
#include "cairn/base/file.h"

namespace cairn {
namespace {

constexpr std::size_t kMost = 65536;
constexpr std::size_t kEntryBytes = 9;  // id, why

std::uint64_t id_of(const Digest& key) {
  std::uint64_t id;
  std::memcpy(&id, key.bytes.data(), sizeof id);
  return id;
}

}  // namespace

void GoneLog::add(std::uint64_t id, Gone why) {
  if (why_.insert_or_assign(id, why).second) order_.push_back(id);
  while (order_.size() > kMost) {
    why_.erase(order_.front());
    order_.pop_front();
  }
}

void GoneLog::note(const Digest& key, Gone why) {
  if (why != Gone::kUnknown) add(id_of(key), why);
}

void GoneLog::forget(const Digest& key) {
  if (why_.erase(id_of(key)) > 0) std::erase(order_, id_of(key));
}

Gone GoneLog::find(const Digest& key) const {
  const auto found = why_.find(id_of(key));
  return found == why_.end() ? Gone::kUnknown : found->second;
}

Status GoneLog::save(const std::string& path) const {
  std::vector<std::byte> out;
  for (const std::uint64_t id : order_) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&id);
    out.insert(out.end(), bytes, bytes + sizeof id);
    out.push_back(static_cast<std::byte>(why_.at(id)));
  }
  const std::uint64_t sum = checksum(out);
  const auto* bytes = reinterpret_cast<const std::byte*>(&sum);
  out.insert(out.end(), bytes, bytes + sizeof sum);
  return write_file(path, out);
}

void GoneLog::load(const std::string& path) {
  const auto file = read_file(path, kMost * kEntryBytes + sizeof(std::uint64_t));
  if (!file || file->size() < sizeof(std::uint64_t)) return;
  const auto entries = std::span<const std::byte>(*file).first(file->size() - sizeof(std::uint64_t));
  std::uint64_t sum;
  std::memcpy(&sum, file->data() + entries.size(), sizeof sum);
  if (sum != checksum(entries) || entries.size() % kEntryBytes != 0) return;
  for (std::size_t at = 0; at < entries.size(); at += kEntryBytes) {
    std::uint64_t id;
    std::memcpy(&id, entries.data() + at, sizeof id);
    const auto why = static_cast<std::uint8_t>(entries[at + 8]);
    if (why <= static_cast<std::uint8_t>(Gone::kErased)) add(id, static_cast<Gone>(why));
  }
}

}  // namespace cairn

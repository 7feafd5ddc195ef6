// SPDX-License-Identifier: Apache-2.0
// Stored blocks for tests: any size, contents that follow from the number.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/store/record/block_record.h"
#include "cairn/testing/test_folder.h"

namespace cairn {

inline Digest numbered_digest(std::string_view domain, std::uint64_t number) {
  return Hasher(domain).u64(number).finish();
}

inline Digest test_key(std::uint64_t number) {
  return numbered_digest("test.key", number);
}

inline std::vector<std::byte> test_bytes(std::uint64_t number, std::size_t count) {
  std::vector<std::byte> bytes(count);
  SeededRandom random(number);
  for (std::size_t i = 0; i < count; i += 8) {
    const std::uint64_t word = random.next();
    for (std::size_t j = 0; j < 8 && i + j < count; ++j) bytes[i + j] = static_cast<std::byte>(word >> 8 * j);
  }
  return bytes;
}

struct TestBlock {
  std::uint64_t number = 0;
  std::vector<std::uint32_t> part_bytes = {256, 1000, 1000};
  std::uint64_t tenant = 0;
  std::int64_t expires_s = 0;
  std::optional<std::uint64_t> parent{};
  std::uint32_t depth = 0;
  bool dull = false;  // contents that compress

  std::vector<std::vector<std::byte>> contents() const {
    std::vector<std::vector<std::byte>> contents;
    for (std::size_t i = 0; i < part_bytes.size(); ++i)
      contents.push_back(test_bytes(number * 1000 + i, part_bytes[i]));
    if (!dull) return contents;
    for (auto& part : contents) {
      for (std::size_t i = 1; i < part.size(); i += 2) part[i] &= std::byte{3};  // as the high bytes of halves
    }
    return contents;
  }

  std::shared_ptr<const BlockRecord> record(const StoreKey* key = nullptr) const {
    BlockMeta meta;
    meta.key = test_key(number);
    meta.parent = parent ? test_key(*parent) : numbered_digest("test.parent", number);
    meta.recipe = numbered_digest("test.recipe", 1);
    meta.tenant = tenant;
    meta.depth = depth;
    meta.expires_s = expires_s;
    for (const std::uint32_t bytes : part_bytes) meta.parts.push_back({bytes, bytes % 3});
    const auto owned = contents();
    const std::vector<std::span<const std::byte>> spans(owned.begin(), owned.end());
    return BlockRecord::build(std::move(meta), spans, key);
  }

  // Whether all parts are what they should be.
  bool equals(const BlockRecord& record, const StoreKey* key = nullptr) const {
    const auto expected = contents();
    if (record.meta().parts.size() != expected.size() || record.meta().key != test_key(number)) return false;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      std::vector<std::byte> out(expected[i].size());
      if (!record.copy_part(i, out, key) || out != expected[i]) return false;
    }
    return true;
  }
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// The bytes of a record's header, read and written field by field; docs/block-format.md is the same in words.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <vector>

#include "cairn/store/record/block_record.h"

namespace cairn {

struct RecordHeader {
  BlockMeta meta;  // its parts too
  std::vector<StoredPart> parts;
  bool encrypted = false;
  StoreKey::Nonce nonce{};
  std::uint64_t place = 0;

  std::size_t header_bytes() const;
  std::vector<std::uint64_t> offsets() const;  // of the parts from the record's first byte, then the record's length

  // Requires: out is zero and header_bytes() long.
  void write(std::span<std::byte> out) const;
  // Everything but the place is checked, lengths against each other as well.
  static std::expected<RecordHeader, Refusal> read(std::span<const std::byte> bytes);
};

inline constexpr char kRecordMagic[] = {'C', 'A', 'I', 'R', 'N', 'B', 'L', 'K'};  // a record's first bytes
inline constexpr std::size_t kNonceAt = 168;

std::size_t record_header_bytes(std::size_t parts);
// How long the header says it is; not verified.
std::size_t stated_header_bytes(std::span<const std::byte> first_page);

// What encryption authenticates beside a part: what the header says it is.
std::array<std::byte, 144> part_context(const BlockMeta& meta, std::size_t part, PartForm form);

// Changes the place in a written header.
void stamp_place(std::span<std::byte> header, std::uint64_t place);

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Parts and blocks made smaller without loss, by zstd. Numbers come in bytes that have little to do with each other:
// the high bytes of halves and floats repeat, the low ones do not, so they are compressed apart where that helps.
//
// Compressed bytes: u64 XXH3-64 of the plain ones, little-endian, then one zstd frame for each byte plane (one alone
// for kZstd), each with its length. Plane p of w holds the bytes p, p + w, ...; the first ones are longer if w does not
// divide the length.
#pragma once

#include <cstddef>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cairn/store/record/block_record.h"

namespace cairn {

inline constexpr int kMinCompressionLevel = 1, kMaxCompressionLevel = 19;

struct CompressedPart {
  PartForm form = PartForm::kPlain;
  std::vector<std::byte> bytes{};
};

// The shortest of the forms, as far as a sample tells; nothing when none is shorter than the plain bytes. The level is
// zstd's. Thread-safe.
std::optional<CompressedPart> compress_part(std::span<const std::byte> plain, int level);

// False unless `stored` is exactly what compress_part makes of out.size() bytes: neither more is written nor anything
// allocated that is longer than `out`; then `out` holds nothing of use. Never trusts a byte. Thread-safe.
bool decompress_part(PartForm form, std::span<const std::byte> stored, std::span<std::byte> out);

// The same block with those parts compressed that get shorter by it; null when it would not take a page less. Every
// part is verified as it is read and again as the new record gives it back. Refused: a part that is damaged, one that
// is encrypted without a key or with another. An encrypted record stays encrypted, with a nonce of its own; one that is
// not stays so too.
std::expected<std::shared_ptr<const BlockRecord>, Refusal> compress_record(const BlockRecord& record, int level,
                                                                           const StoreKey* key = nullptr);

}  // namespace cairn

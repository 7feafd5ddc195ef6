// SPDX-License-Identifier: Apache-2.0
// A part's bytes made shorter without loss, by zstd. Numbers come in bytes that have little to do with each other: the
// high bytes of halves and floats repeat, the low ones do not, so they are compressed apart where that helps.
//
// Compressed bytes: u64 XXH3-64 of the plain ones, little-endian, then one zstd frame for each byte plane (one alone
// for kZstd), each with its length. Plane p of w holds the bytes p, p + w, ...; the first ones are longer if w does not
// divide the length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cairn {

// As stored: never change a number.
enum class PartForm : std::uint32_t { kPlain = 0, kZstd = 1, kPlanes2 = 2, kPlanes4 = 3 };

inline constexpr std::uint32_t kPartForms = 4;
inline constexpr int kLeastCompressionLevel = 1, kMaxCompressionLevel = 19;

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

}  // namespace cairn

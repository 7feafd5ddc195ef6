// SPDX-License-Identifier: Apache-2.0
#include "cairn/kernels/panel.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace cairn {
namespace {

constexpr std::uint32_t kUnit = 256;     // columns of the longest block
constexpr std::uint16_t kSign = 0x8000;  // minima are subtracted; the formats that add theirs change its sign

// One row's unit taken apart: codes by column, and what scales them.
struct RowUnit {
  std::uint8_t codes[kUnit];
  std::uint16_t d;
  std::uint16_t dmin;
  std::uint8_t scales[16];
  std::uint8_t mins[16];
};

std::uint16_t load_u16(const std::uint8_t* p) {
  return static_cast<std::uint16_t>(p[0] | (p[1] << 8));
}

// The 6-bit scales and minima of Q4_K and Q5_K, 12 bytes for 8 groups.
void split_k_scales(const std::uint8_t* packed, RowUnit& unit) {
  for (int g = 0; g < 4; ++g) {
    unit.scales[g] = packed[g] & 63;
    unit.mins[g] = packed[g + 4] & 63;
    unit.scales[g + 4] = static_cast<std::uint8_t>((packed[g + 8] & 15) | ((packed[g] >> 6) << 4));
    unit.mins[g + 4] = static_cast<std::uint8_t>((packed[g + 8] >> 4) | ((packed[g + 4] >> 6) << 4));
  }
}

void split_q8_0(const std::uint8_t* block, RowUnit& unit) {
  unit.d = load_u16(block);
  for (int k = 0; k < 32; ++k) unit.codes[k] = static_cast<std::uint8_t>(block[2 + k] ^ 0x80);
}

// 32 values: byte k holds value k below and value k + 16 above.
void split_nibbles(const std::uint8_t* nibbles, std::uint8_t* codes) {
  for (int k = 0; k < 16; ++k) {
    codes[k] = nibbles[k] & 15;
    codes[k + 16] = nibbles[k] >> 4;
  }
}

void split_q4_0(const std::uint8_t* block, RowUnit& unit) {
  unit.d = load_u16(block);
  split_nibbles(block + 2, unit.codes);
}

void split_q4_1(const std::uint8_t* block, RowUnit& unit) {
  unit.d = load_u16(block);
  unit.dmin = load_u16(block + 2) ^ kSign;
  split_nibbles(block + 4, unit.codes);
}

// `fifth`: four bytes, then nibbles.
void split_five_bits(const std::uint8_t* fifth, RowUnit& unit) {
  for (int k = 0; k < 32; ++k) {
    const int low = (fifth[4 + k % 16] >> (k / 16 * 4)) & 15;
    const int bit = (fifth[k / 8] >> (k % 8)) & 1;
    unit.codes[k] = static_cast<std::uint8_t>(low | (bit << 4));
  }
}

void split_q5_0(const std::uint8_t* block, RowUnit& unit) {
  unit.d = load_u16(block);
  split_five_bits(block + 2, unit);
}

void split_q5_1(const std::uint8_t* block, RowUnit& unit) {
  unit.d = load_u16(block);
  unit.dmin = load_u16(block + 2) ^ kSign;
  split_five_bits(block + 4, unit);
}

void split_q4_k(const std::uint8_t* block, RowUnit& unit) {
  unit.d = load_u16(block);
  unit.dmin = load_u16(block + 2);
  split_k_scales(block + 4, unit);
  const std::uint8_t* nibbles = block + 16;
  for (int pair = 0; pair < 4; ++pair) {
    for (int k = 0; k < 32; ++k) {
      unit.codes[pair * 64 + k] = nibbles[pair * 32 + k] & 15;
      unit.codes[pair * 64 + 32 + k] = nibbles[pair * 32 + k] >> 4;
    }
  }
}

void split_q5_k(const std::uint8_t* block, RowUnit& unit) {
  unit.d = load_u16(block);
  unit.dmin = load_u16(block + 2);
  split_k_scales(block + 4, unit);
  const std::uint8_t* high = block + 16;
  const std::uint8_t* nibbles = block + 48;
  for (int pair = 0; pair < 4; ++pair) {
    for (int k = 0; k < 32; ++k) {
      const int low_bit = (high[k] >> (2 * pair)) & 1;
      const int high_bit = (high[k] >> (2 * pair + 1)) & 1;
      unit.codes[pair * 64 + k] = static_cast<std::uint8_t>((nibbles[pair * 32 + k] & 15) | (low_bit << 4));
      unit.codes[pair * 64 + 32 + k] = static_cast<std::uint8_t>((nibbles[pair * 32 + k] >> 4) | (high_bit << 4));
    }
  }
}

void split_q6_k(const std::uint8_t* block, RowUnit& unit) {
  const std::uint8_t* low = block;
  const std::uint8_t* high = block + 128;
  std::memcpy(unit.scales, block + 192, 16);
  unit.d = load_u16(block + 208);
  for (int half = 0; half < 2; ++half) {
    for (int k = 0; k < 32; ++k) {
      const std::uint8_t upper = high[half * 32 + k];
      const std::uint8_t first = low[half * 64 + k];
      const std::uint8_t second = low[half * 64 + 32 + k];
      std::uint8_t* codes = unit.codes + half * 128 + k;
      codes[0] = static_cast<std::uint8_t>((first & 15) | ((upper & 3) << 4));
      codes[32] = static_cast<std::uint8_t>((second & 15) | (((upper >> 2) & 3) << 4));
      codes[64] = static_cast<std::uint8_t>((first >> 4) | (((upper >> 4) & 3) << 4));
      codes[96] = static_cast<std::uint8_t>((second >> 4) | ((upper >> 6) << 4));
    }
  }
}

// The pair of bits of value i in the layout of Q2_K and Q3_K: each half of 128 values has 32 bytes of four runs of 32.
int two_bits(const std::uint8_t* pairs, int i) {
  return (pairs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
}

void split_q2_k(const std::uint8_t* block, RowUnit& unit) {
  for (int group = 0; group < 16; ++group) {
    unit.scales[group] = block[group] & 15;
    unit.mins[group] = block[group] >> 4;
  }
  for (int k = 0; k < 256; ++k) unit.codes[k] = static_cast<std::uint8_t>(two_bits(block + 16, k));
  unit.d = load_u16(block + 80);
  unit.dmin = load_u16(block + 82);
}

void split_q3_k(const std::uint8_t* block, RowUnit& unit) {
  for (int k = 0; k < 256; ++k) {
    const int third = (block[k % 32] >> (k / 32)) & 1;
    unit.codes[k] = static_cast<std::uint8_t>(two_bits(block + 32, k) | (third << 2));
  }
  const std::uint8_t* packed = block + 96;
  for (int group = 0; group < 16; ++group) {
    const int low = (packed[group % 8] >> (group / 8 * 4)) & 15;
    const int upper = (packed[8 + group % 4] >> (group / 4 * 2)) & 3;
    unit.scales[group] = static_cast<std::uint8_t>((low | (upper << 4)) - 32);
  }
  unit.d = load_u16(block + 108);
}

void split_mxfp4(const std::uint8_t* block, RowUnit& unit) {
  unit.scales[0] = block[0];
  split_nibbles(block + 1, unit.codes);
}

void split_iq4_xs(const std::uint8_t* block, RowUnit& unit) {
  unit.d = load_u16(block);
  const int upper = load_u16(block + 2);
  for (int group = 0; group < 8; ++group) {
    const int low = (block[4 + group / 2] >> (group % 2 * 4)) & 15;
    unit.scales[group] = static_cast<std::uint8_t>((low | (((upper >> (2 * group)) & 3) << 4)) - 32);
    split_nibbles(block + 8 + group * 16, unit.codes + group * 32);
  }
}

// Writes one row's share of a unit; `lane` is the row within the panel.
struct Writer {
  std::byte* at;
  std::uint32_t lane;

  void f16(std::uint16_t value) {
    std::memcpy(at + lane * 2, &value, 2);
    at += kPanelRows * 2;
  }
  void bytes(const std::uint8_t* values, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) at[i * kPanelRows + lane] = std::byte{values[i]};
    at += count * kPanelRows;
  }
  void codes(const std::uint8_t* group) {
    for (std::uint32_t quad = 0; quad < kQuads; ++quad)
      std::memcpy(at + quad * kQuadBytes + lane * 4, group + quad * 4, 4);
    at += kQuads * kQuadBytes;
  }
  void nibbles(const std::uint8_t* group) {
    for (std::uint32_t k = 0; k < 16; ++k) {
      at[(k / 4) * kQuadBytes + lane * 4 + k % 4] =
          static_cast<std::byte>((group[k] & 15) | ((group[k + 16] & 15) << 4));
    }
    at += kQuads / 2 * kQuadBytes;
  }
  // One bit of every code: bit q of a byte belongs to quad q.
  void bits(const std::uint8_t* group, std::uint32_t which) {
    for (std::uint32_t b = 0; b < 4; ++b) {
      std::uint32_t bits = 0;
      for (std::uint32_t quad = 0; quad < kQuads; ++quad) bits |= ((group[quad * 4 + b] >> which) & 1u) << quad;
      at[lane * 4 + b] = static_cast<std::byte>(bits);
    }
    at += kQuadBytes;
  }
  // Two bits of every code, from `which` up: those of four quads in a vector.
  void pairs(const std::uint8_t* group, std::uint32_t which) {
    for (std::uint32_t half = 0; half < 2; ++half) {
      for (std::uint32_t b = 0; b < 4; ++b) {
        std::uint32_t bits = 0;
        for (std::uint32_t j = 0; j < 4; ++j) bits |= ((group[(half * 4 + j) * 4 + b] >> which) & 3u) << (2 * j);
        at[half * kQuadBytes + lane * 4 + b] = static_cast<std::byte>(bits);
      }
    }
    at += 2 * kQuadBytes;
  }
};

using Split = void (*)(const std::uint8_t* block, RowUnit& unit);

// How many bits a code has, which is how they are laid out: 2, 2 + 1, 4, 4 + 1, 4 + 2 or 8.
enum class Bits : std::uint8_t { k2 = 2, k3 = 3, k4 = 4, k5 = 5, k6 = 6, k8 = 8 };

// A unit of a format and what it holds, in this order: halves (d, dmin), scales, minima, codes.
struct Entry {
  WeightFormat format;
  PanelFormat panel;
  Split split;
  std::uint32_t halves, scales, minima;
  Bits bits;
};

void write_unit(const Entry& entry, const RowUnit& unit, Writer w) {
  if (entry.halves > 0) w.f16(unit.d);
  if (entry.halves > 1) w.f16(unit.dmin);
  w.bytes(unit.scales, entry.scales);
  w.bytes(unit.mins, entry.minima);
  for (std::uint32_t col = 0; col < entry.panel.unit_cols; col += kGroupValues) {
    if (entry.bits == Bits::k8) {
      w.codes(unit.codes + col);
    } else if (entry.bits < Bits::k4) {
      w.pairs(unit.codes + col, 0);
    } else {
      w.nibbles(unit.codes + col);
    }
    if (entry.bits == Bits::k3) w.bits(unit.codes + col, 2);
    if (entry.bits == Bits::k5) w.bits(unit.codes + col, 4);
    if (entry.bits == Bits::k6) w.pairs(unit.codes + col, 4);
  }
}

constexpr PanelFormat unit_format(std::uint32_t cols, std::uint32_t halves, std::uint32_t bytes, Bits bits) {
  return {cols, kPanelRows * (halves * 2 + bytes + cols * static_cast<std::uint32_t>(bits) / 8)};
}
// A unit of one block of 32 columns.
constexpr Entry block(WeightFormat format, Split split, std::uint32_t halves, std::uint32_t scales, Bits bits) {
  return {format, unit_format(32, halves, scales, bits), split, halves, scales, 0, bits};
}
// A unit of one block of 256 columns.
constexpr Entry k_block(WeightFormat format, Split split, std::uint32_t scales, std::uint32_t minima, Bits bits) {
  const std::uint32_t halves = minima > 0 ? 2 : 1;
  return {format, unit_format(256, halves, scales + minima, bits), split, halves, scales, minima, bits};
}

constexpr Entry kEntries[] = {
    block(WeightFormat::kQ8_0, split_q8_0, 1, 0, Bits::k8),
    block(WeightFormat::kQ4_0, split_q4_0, 1, 0, Bits::k4),
    block(WeightFormat::kQ4_1, split_q4_1, 2, 0, Bits::k4),
    block(WeightFormat::kQ5_0, split_q5_0, 1, 0, Bits::k5),
    block(WeightFormat::kQ5_1, split_q5_1, 2, 0, Bits::k5),
    block(WeightFormat::kIQ4_NL, split_q4_0, 1, 0, Bits::k4),
    block(WeightFormat::kMXFP4, split_mxfp4, 0, 1, Bits::k4),
    k_block(WeightFormat::kQ2_K, split_q2_k, 16, 16, Bits::k2),
    k_block(WeightFormat::kQ3_K, split_q3_k, 16, 0, Bits::k3),
    k_block(WeightFormat::kQ4_K, split_q4_k, 8, 8, Bits::k4),
    k_block(WeightFormat::kQ5_K, split_q5_k, 8, 8, Bits::k5),
    k_block(WeightFormat::kQ6_K, split_q6_k, 16, 0, Bits::k6),
    k_block(WeightFormat::kIQ4_XS, split_iq4_xs, 8, 0, Bits::k4),
};

// Numbers of `width` bytes.
void pack_dense(std::size_t width, const std::byte* matrix, std::uint32_t rows, std::uint32_t cols, std::uint32_t panel,
                std::byte* out) {
  for (std::uint32_t lane = 0; lane < kPanelRows; ++lane) {
    const std::uint32_t row = panel * kPanelRows + lane;
    for (std::uint32_t col = 0; col < cols; ++col) {
      std::byte* to = out + (std::size_t{col} * kPanelRows + lane) * width;
      if (row >= rows) {
        std::memset(to, 0, width);
      } else {
        std::memcpy(to, matrix + (std::size_t{row} * cols + col) * width, width);
      }
    }
  }
}

// nullptr for dense formats.
const Entry* find_entry(WeightFormat format) {
  const Entry* end = kEntries + std::size(kEntries);
  const Entry* entry = std::find_if(kEntries, end, [format](const Entry& e) { return e.format == format; });
  return entry == end ? nullptr : entry;
}

}  // namespace

PanelFormat panel_format(WeightFormat format) {
  const Entry* entry = find_entry(format);
  return entry == nullptr ? PanelFormat{1, kPanelRows * weight_format_info(format).block_bytes} : entry->panel;
}

std::size_t panel_bytes(WeightFormat format, std::uint32_t cols) {
  const PanelFormat panel = panel_format(format);
  return std::size_t{cols / panel.unit_cols} * panel.unit_bytes;
}

void pack_panel(WeightFormat format, const std::byte* matrix, std::uint32_t rows, std::uint32_t cols,
                std::uint32_t panel, std::byte* out) {
  if (is_dense(format)) return pack_dense(weight_format_info(format).block_bytes, matrix, rows, cols, panel, out);
  const Entry& entry = *find_entry(format);
  const std::size_t block_bytes = weight_format_info(format).block_bytes;
  const std::uint32_t units = cols / entry.panel.unit_cols;
  const std::uint32_t first = panel * kPanelRows;
  RowUnit unit = {};
  for (std::uint32_t lane = 0; lane < kPanelRows; ++lane) {
    if (first + lane >= rows) unit = {};
    const std::byte* row = matrix + std::size_t{first + lane} * units * block_bytes;
    for (std::uint32_t u = 0; u < units; ++u) {
      if (first + lane < rows) entry.split(reinterpret_cast<const std::uint8_t*>(row + u * block_bytes), unit);
      write_unit(entry, unit, Writer{out + std::size_t{u} * entry.panel.unit_bytes, lane});
    }
  }
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/kernels/panel.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace cairn {
namespace {

constexpr std::uint32_t kUnit = 256;     // columns of a K-quant block
constexpr std::uint16_t kSign = 0x8000;  // minima are subtracted; the formats that add theirs change its sign

// One row's unit taken apart: codes by column, and what scales them.
struct RowUnit {
  std::uint8_t codes[kUnit];
  std::uint16_t d;
  std::uint16_t dmin;
  std::uint8_t scales[16];
  std::uint8_t mins[8];
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

void split_q4_0(const std::uint8_t* block, RowUnit& unit) {
  unit.d = load_u16(block);
  for (int k = 0; k < 16; ++k) {
    unit.codes[k] = block[2 + k] & 15;
    unit.codes[k + 16] = block[2 + k] >> 4;
  }
}

void split_q4_1(const std::uint8_t* block, RowUnit& unit) {
  split_q4_0(block + 2, unit);
  unit.d = load_u16(block);
  unit.dmin = load_u16(block + 2) ^ kSign;
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
  void fifth_bits(const std::uint8_t* group) {
    for (std::uint32_t b = 0; b < 4; ++b) {
      std::uint32_t bits = 0;
      for (std::uint32_t quad = 0; quad < kQuads; ++quad) bits |= ((group[quad * 4 + b] >> 4) & 1u) << quad;
      at[lane * 4 + b] = static_cast<std::byte>(bits);
    }
    at += kQuadBytes;
  }
  void upper_bits(const std::uint8_t* group) {
    for (std::uint32_t half = 0; half < 2; ++half) {
      for (std::uint32_t b = 0; b < 4; ++b) {
        std::uint32_t bits = 0;
        for (std::uint32_t j = 0; j < 4; ++j) bits |= ((group[(half * 4 + j) * 4 + b] >> 4) & 3u) << (2 * j);
        at[half * kQuadBytes + lane * 4 + b] = static_cast<std::byte>(bits);
      }
    }
    at += 2 * kQuadBytes;
  }
};

using Split = void (*)(const std::uint8_t* block, RowUnit& unit);

enum class Above : std::uint8_t { kNothing, kFifthBits, kUpperBits };  // the nibbles

// A unit of a format and what it holds, in this order: d, minimum, scales, minima, codes.
struct Entry {
  WeightFormat format;
  PanelFormat panel;
  Split split;
  bool minimum = false;
  std::uint32_t scales = 0, minima = 0;  // of groups: factors of d and of the minimum
  bool bytes = false;                    // codes are bytes instead of nibbles
  Above above = Above::kNothing;
};

void write_unit(const Entry& entry, const RowUnit& unit, Writer w) {
  w.f16(unit.d);
  if (entry.minimum) w.f16(unit.dmin);
  w.bytes(unit.scales, entry.scales);
  w.bytes(unit.mins, entry.minima);
  for (std::uint32_t col = 0; col < entry.panel.unit_cols; col += kGroupValues) {
    entry.bytes ? w.codes(unit.codes + col) : w.nibbles(unit.codes + col);
  }
  for (std::uint32_t col = 0; col < entry.panel.unit_cols; col += kGroupValues) {
    if (entry.above == Above::kFifthBits) w.fifth_bits(unit.codes + col);
    if (entry.above == Above::kUpperBits) w.upper_bits(unit.codes + col);
  }
}

constexpr std::uint32_t kK = kPanelRows;
constexpr Entry kEntries[] = {
    {.format = WeightFormat::kQ8_0, .panel = {32, kK * 34}, .split = split_q8_0, .bytes = true},
    {.format = WeightFormat::kQ4_0, .panel = {32, kK * 18}, .split = split_q4_0},
    {.format = WeightFormat::kQ4_1, .panel = {32, kK * 20}, .split = split_q4_1, .minimum = true},
    {.format = WeightFormat::kQ5_0, .panel = {32, kK * 22}, .split = split_q5_0, .above = Above::kFifthBits},
    {.format = WeightFormat::kQ5_1,
     .panel = {32, kK * 24},
     .split = split_q5_1,
     .minimum = true,
     .above = Above::kFifthBits},
    {.format = WeightFormat::kQ4_K,
     .panel = {256, kK*(4 + 16 + 128)},
     .split = split_q4_k,
     .minimum = true,
     .scales = 8,
     .minima = 8},
    {.format = WeightFormat::kQ5_K,
     .panel = {256, kK*(4 + 16 + 160)},
     .split = split_q5_k,
     .minimum = true,
     .scales = 8,
     .minima = 8,
     .above = Above::kFifthBits},
    {.format = WeightFormat::kQ6_K,
     .panel = {256, kK*(2 + 16 + 192)},
     .split = split_q6_k,
     .scales = 16,
     .above = Above::kUpperBits},
};

const Entry* find_entry(WeightFormat format) {
  const Entry* end = kEntries + std::size(kEntries);
  const Entry* entry = std::find_if(kEntries, end, [format](const Entry& e) { return e.format == format; });
  return entry == end ? nullptr : entry;
}

}  // namespace

const PanelFormat* find_panel_format(WeightFormat format) {
  const Entry* entry = find_entry(format);
  return entry == nullptr ? nullptr : &entry->panel;
}

std::size_t panel_bytes(const PanelFormat& format, std::uint32_t cols) {
  return std::size_t{cols / format.unit_cols} * format.unit_bytes;
}

void pack_panel(WeightFormat format, const std::byte* matrix, std::uint32_t rows, std::uint32_t cols,
                std::uint32_t panel, std::byte* out) {
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

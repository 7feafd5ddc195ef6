// SPDX-License-Identifier: Apache-2.0
// Block layouts as GGUF files hold them. Products and differences are single roundings in the order written here; a
// faster kernel that expands weights must give the same bits.
#include <cmath>
#include <cstring>

#include "cairn/base/check.h"
#include "cairn/base/half.h"
#include "cairn/kernels/weight_format.h"

namespace cairn {
namespace {

constexpr WeightFormatInfo kFormats[] = {
    {.format = WeightFormat::kF32, .name = "F32", .block_values = 1, .block_bytes = 4},
    {.format = WeightFormat::kF16, .name = "F16", .block_values = 1, .block_bytes = 2},
    {.format = WeightFormat::kQ4_0, .name = "Q4_0", .block_values = 32, .block_bytes = 18, .f16s = 1},
    {.format = WeightFormat::kQ4_1, .name = "Q4_1", .block_values = 32, .block_bytes = 20, .f16s = 2},
    {.format = WeightFormat::kQ5_0, .name = "Q5_0", .block_values = 32, .block_bytes = 22, .f16s = 1},
    {.format = WeightFormat::kQ5_1, .name = "Q5_1", .block_values = 32, .block_bytes = 24, .f16s = 2},
    {.format = WeightFormat::kQ8_0, .name = "Q8_0", .block_values = 32, .block_bytes = 34, .f16s = 1},
    {.format = WeightFormat::kQ2_K, .name = "Q2_K", .block_values = 256, .block_bytes = 84, .f16s = 2, .f16_at = 80},
    {.format = WeightFormat::kQ3_K, .name = "Q3_K", .block_values = 256, .block_bytes = 110, .f16s = 1, .f16_at = 108},
    {.format = WeightFormat::kQ4_K, .name = "Q4_K", .block_values = 256, .block_bytes = 144, .f16s = 2},
    {.format = WeightFormat::kQ5_K, .name = "Q5_K", .block_values = 256, .block_bytes = 176, .f16s = 2},
    {.format = WeightFormat::kQ6_K, .name = "Q6_K", .block_values = 256, .block_bytes = 210, .f16s = 1, .f16_at = 208},
    {.format = WeightFormat::kIQ4_NL, .name = "IQ4_NL", .block_values = 32, .block_bytes = 18, .f16s = 1},
    {.format = WeightFormat::kIQ4_XS, .name = "IQ4_XS", .block_values = 256, .block_bytes = 136, .f16s = 1},
    {.format = WeightFormat::kBF16, .name = "BF16", .block_values = 1, .block_bytes = 2},
    {.format = WeightFormat::kMXFP4, .name = "MXFP4", .block_values = 32, .block_bytes = 17},
};

std::uint8_t u8(const std::byte* bytes, int i) {
  return std::to_integer<std::uint8_t>(bytes[i]);
}
std::int8_t i8(const std::byte* bytes, int i) {
  return static_cast<std::int8_t>(u8(bytes, i));
}

std::uint16_t u16(const std::byte* bytes) {
  std::uint16_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// d f16, then 32 nibbles: byte i holds value i below and value i + 16 above, both offset by 8.
void expand_q4_0(const std::byte* block, float* out) {
  const float d = f16_to_f32(u16(block));
  const std::byte* quants = block + 2;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((u8(quants, i) & 15) - 8);
    out[i + 16] = d * static_cast<float>((u8(quants, i) >> 4) - 8);
  }
}

// As Q4_0, but not offset, with a minimum: d f16, m f16, nibbles.
void expand_q4_1(const std::byte* block, float* out) {
  const float d = f16_to_f32(u16(block));
  const float m = f16_to_f32(u16(block + 2));
  const std::byte* quants = block + 4;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(u8(quants, i) & 15) + m;
    out[i + 16] = d * static_cast<float>(u8(quants, i) >> 4) + m;
  }
}

// Value i of 32 whose low bits are nibbles as in Q4_0 and whose fifth bit is bit i of the four bytes before them.
int five_bits(const std::byte* fifth, int i) {
  const int low = (u8(fifth + 4, i % 16) >> (i / 16 * 4)) & 15;
  return low | (((u8(fifth, i / 8) >> (i % 8)) & 1) << 4);
}

// d f16, fifth bits, nibbles; offset by 16.
void expand_q5_0(const std::byte* block, float* out) {
  const float d = f16_to_f32(u16(block));
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(five_bits(block + 2, i) - 16);
}

// d f16, m f16, fifth bits, nibbles.
void expand_q5_1(const std::byte* block, float* out) {
  const float d = f16_to_f32(u16(block));
  const float m = f16_to_f32(u16(block + 2));
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(five_bits(block + 4, i)) + m;
}

// d f16, then 32 signed bytes.
void expand_q8_0(const std::byte* block, float* out) {
  const float d = f16_to_f32(u16(block));
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(i8(block + 2, i));
}

// What the nibbles of IQ4_NL and IQ4_XS stand for: levels that suit a normal distribution.
constexpr int kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// Twice the values of a float of a sign, two bits of exponent and one of mantissa.
constexpr int kFp4Levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// 16 bytes of nibbles that number levels: byte i holds value i below and value i + 16 above.
void expand_levels(float scale, const int* levels, const std::byte* nibbles, float* out) {
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(levels[u8(nibbles, i) & 15]);
    out[i + 16] = scale * static_cast<float>(levels[u8(nibbles, i) >> 4]);
  }
}

// d f16, then nibbles.
void expand_iq4_nl(const std::byte* block, float* out) {
  expand_levels(f16_to_f32(u16(block)), kIq4Levels, block + 2, out);
}

// A byte e that stands for the scale 2^(e - 127), then nibbles. Levels are doubled, so the scale is halved.
void expand_mxfp4(const std::byte* block, float* out) {
  expand_levels(std::ldexp(1.0f, u8(block, 0) - 128), kFp4Levels, block + 1, out);
}

// d f16, 16 bits that hold the upper two bits of eight scales, four bytes with their lower four; 8 times 16 bytes of
// nibbles. Scales are offset by 32.
void expand_iq4_xs(const std::byte* block, float* out) {
  const float d = f16_to_f32(u16(block));
  const int upper = u16(block + 2);
  for (int group = 0; group < 8; ++group) {
    const int low = (u8(block + 4, group / 2) >> (group % 2 * 4)) & 15;
    const int scale = low | (((upper >> (2 * group)) & 3) << 4);
    expand_levels(d * static_cast<float>(scale - 32), kIq4Levels, block + 8 + group * 16, out + group * 32);
  }
}

// The two bits of value i of 256, in 64 bytes: each half of 128 values has 32 bytes, whose pairs are four runs of 32.
int two_bits(const std::byte* pairs, int i) {
  return (u8(pairs, i / 128 * 32 + i % 32) >> (i % 128 / 32 * 2)) & 3;
}

// 16 bytes, a scale below and a minimum above, each for 16 values; 64 bytes of pairs of bits; d f16, dmin f16.
void expand_q2_k(const std::byte* block, float* out) {
  const float d = f16_to_f32(u16(block + 80));
  const float dmin = f16_to_f32(u16(block + 82));
  for (int i = 0; i < 256; ++i) {
    const float scale = d * static_cast<float>(u8(block, i / 16) & 15);
    const float min = dmin * static_cast<float>(u8(block, i / 16) >> 4);
    out[i] = scale * static_cast<float>(two_bits(block + 16, i)) - min;
  }
}

// 32 bytes of third bits (bit g of byte i belongs to value 32 g + i), 64 bytes of pairs of bits, 12 bytes of scales, d
// f16. Values are offset by 4, scales of 16 values by 32: their low nibbles lie in bytes 0-7, first all low ones, their
// upper two bits in bytes 8-11.
void expand_q3_k(const std::byte* block, float* out) {
  const float d = f16_to_f32(u16(block + 108));
  const std::byte* packed = block + 96;
  for (int i = 0; i < 256; ++i) {
    const int group = i / 16;
    const int low = (u8(packed, group % 8) >> (group / 8 * 4)) & 15;
    const int upper = (u8(packed + 8, group % 4) >> (group / 4 * 2)) & 3;
    const float scale = d * static_cast<float>((low | (upper << 4)) - 32);
    const int third = (u8(block, i % 32) >> (i / 32)) & 1;
    out[i] = scale * static_cast<float>((two_bits(block + 32, i) | (third << 2)) - 4);
  }
}

// Scale and minimum of one group of 32 values, 6 bits each, eight pairs packed in 12 bytes: groups 0-3 lie in the low
// six bits of bytes 0-3 (scales) and 4-7 (minima); groups 4-7 have their low nibbles in bytes 8-11 and their high two
// bits in the top of bytes 0-7.
struct ScaleMin {
  float scale;
  float min;
};

ScaleMin unpack_scale_min(const std::byte* packed, int group) {
  if (group < 4) {
    return {static_cast<float>(u8(packed, group) & 63), static_cast<float>(u8(packed, group + 4) & 63)};
  }
  const int low = u8(packed, group + 4);
  return {static_cast<float>((low & 15) | ((u8(packed, group - 4) >> 6) << 4)),
          static_cast<float>((low >> 4) | ((u8(packed, group) >> 6) << 4))};
}

// d f16, dmin f16, 12 bytes of scales; 128 bytes of nibbles: 32 bytes serve two groups, low nibbles first. In Q5_K
// (`high` not null) bit g of high byte i is the fifth bit of value i of group g.
void expand_q45_k(const std::byte* block, const std::byte* high, const std::byte* nibbles, float* out) {
  const float d = f16_to_f32(u16(block));
  const float dmin = f16_to_f32(u16(block + 2));
  for (int group = 0; group < 8; ++group) {
    const ScaleMin packed = unpack_scale_min(block + 4, group);
    const float scale = d * packed.scale;
    const float min = dmin * packed.min;
    const std::byte* quants = nibbles + (group / 2) * 32;
    const int shift = (group & 1) * 4;
    for (int i = 0; i < 32; ++i) {
      int quant = (u8(quants, i) >> shift) & 15;
      if (high != nullptr) quant |= ((u8(high, i) >> group) & 1) << 4;
      out[group * 32 + i] = scale * static_cast<float>(quant) - min;
    }
  }
}

// 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales (one per 16 values), d f16. Values are offset
// by 32. Each half of 128 values is four runs of 32: run r takes low bytes (r & 1) * 32.., nibble r / 2, bit pair r.
void expand_q6_k(const std::byte* block, float* out) {
  const float d = f16_to_f32(u16(block + 208));
  for (int half = 0; half < 2; ++half) {
    const std::byte* low = block + half * 64;
    const std::byte* high = block + 128 + half * 32;
    const std::byte* scales = block + 192 + half * 8;
    for (int run = 0; run < 4; ++run) {
      for (int i = 0; i < 32; ++i) {
        const int nibble = (u8(low, (run & 1) * 32 + i) >> ((run / 2) * 4)) & 15;
        const int pair = (u8(high, i) >> (run * 2)) & 3;
        const float scale = d * static_cast<float>(i8(scales, run * 2 + i / 16));
        out[half * 128 + run * 32 + i] = scale * static_cast<float>((nibble | (pair << 4)) - 32);
      }
    }
  }
}

void expand_block(WeightFormat format, const std::byte* block, float* out) {
  switch (format) {
    case WeightFormat::kF32: std::memcpy(out, block, sizeof *out); return;
    case WeightFormat::kF16: *out = f16_to_f32(u16(block)); return;
    case WeightFormat::kBF16: *out = bf16_to_f32(u16(block)); return;
    case WeightFormat::kQ4_0: expand_q4_0(block, out); return;
    case WeightFormat::kQ4_1: expand_q4_1(block, out); return;
    case WeightFormat::kQ5_0: expand_q5_0(block, out); return;
    case WeightFormat::kQ5_1: expand_q5_1(block, out); return;
    case WeightFormat::kQ8_0: expand_q8_0(block, out); return;
    case WeightFormat::kQ2_K: expand_q2_k(block, out); return;
    case WeightFormat::kQ3_K: expand_q3_k(block, out); return;
    case WeightFormat::kQ4_K: expand_q45_k(block, nullptr, block + 16, out); return;
    case WeightFormat::kQ5_K: expand_q45_k(block, block + 16, block + 48, out); return;
    case WeightFormat::kQ6_K: expand_q6_k(block, out); return;
    case WeightFormat::kIQ4_NL: expand_iq4_nl(block, out); return;
    case WeightFormat::kIQ4_XS: expand_iq4_xs(block, out); return;
    case WeightFormat::kMXFP4: expand_mxfp4(block, out); return;
  }
}

// Numbers whose exponent is all ones are infinities or no numbers.
template <class Bits>
bool finite_numbers(std::span<const std::byte> numbers, Bits exponent) {
  bool finite = true;
  for (std::size_t at = 0; at < numbers.size(); at += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, numbers.data() + at, sizeof bits);
    finite &= (bits & exponent) != exponent;
  }
  return finite;
}

constexpr std::uint16_t kF16Exponent = 0x7c00, kBf16Exponent = 0x7f80;
constexpr std::uint32_t kF32Exponent = 0x7f800000;
constexpr int kMaxMxfp4Scale = 252;  // 12, the greatest level, times the scale of a greater byte is infinite

}  // namespace

std::span<const WeightFormatInfo> weight_formats() {
  return kFormats;
}

const WeightFormatInfo* find_weight_format(std::uint32_t number) {
  for (const WeightFormatInfo& info : kFormats) {
    if (static_cast<std::uint32_t>(info.format) == number) return &info;
  }
  return nullptr;
}

const WeightFormatInfo& weight_format_info(WeightFormat format) {
  const WeightFormatInfo* info = find_weight_format(static_cast<std::uint32_t>(format));
  CAIRN_CHECK(info != nullptr);
  return *info;
}

void dequantise_row(WeightFormat format, const std::byte* row, std::size_t values, float* out) {
  const WeightFormatInfo& info = weight_format_info(format);
  CAIRN_DCHECK(values % info.block_values == 0);
  for (std::size_t done = 0; done < values; done += info.block_values) {
    expand_block(format, row, out + done);
    row += info.block_bytes;
  }
}

bool all_finite(WeightFormat format, std::span<const std::byte> blocks) {
  switch (format) {
    case WeightFormat::kF32: return finite_numbers(blocks, kF32Exponent);
    case WeightFormat::kF16: return finite_numbers(blocks, kF16Exponent);
    case WeightFormat::kBF16: return finite_numbers(blocks, kBf16Exponent);
    default: break;
  }
  const WeightFormatInfo& info = weight_format_info(format);
  bool finite = true;
  for (std::size_t at = 0; at < blocks.size(); at += info.block_bytes) {
    const std::byte* block = blocks.data() + at;
    finite &= format != WeightFormat::kMXFP4 || u8(block, 0) <= kMaxMxfp4Scale;
    for (std::uint32_t i = 0; i < info.f16s; ++i) {
      finite &= (u16(block + info.f16_at + 2 * i) & kF16Exponent) != kF16Exponent;
    }
  }
  return finite;
}

}  // namespace cairn

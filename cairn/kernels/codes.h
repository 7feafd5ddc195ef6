// SPDX-License-Identifier: Apache-2.0
// Attention over integer codes: what the fused kernels of quantised pages read.
//
// All of it is two products, scores = q K and output = p V, of a float row with a matrix of small unsigned codes.
// Scales never touch the codes: those that run along the summed axis are folded into the row, which is then rounded to
// signed bytes; those that run along the other axis multiply the integer result. So the inner loops are exact integer
// dot products (64 multiplications in one VNNI instruction), and every instruction set returns the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cairn/kernels/args.h"

namespace cairn {

// Values of a code matrix side by side in one 64-byte vector: 16 lanes, 4 deep.
inline constexpr std::uint32_t kCodeLanes = 16;
inline constexpr std::uint32_t kCodeQuad = 4;
// The summed axis of a score is cut into segments of this many channels, each with a scale of its own for the query.
inline constexpr std::uint32_t kQuerySegment = 32;
// Longest head that the kernels take.
inline constexpr std::uint32_t kMaxChannels = 512;

// Codes that stand for 1, 2, 4 and 8 channels.
inline constexpr std::uint32_t kShareKinds = 4;

// Unsigned codes of `bits` (2, 4 or 8) each, packed without gaps. Lanes are outputs, depth is summed over:
// keys have tokens as lanes and channels as depth, values channels as lanes and tokens as depth.
//
// [lanes / 16][depth / (32 / bits)][64 bytes]: byte 4 * i + j of a vector belongs to lane i and to depths j, 4 + j, ...
// of the vector's 32 / bits depths, the first in the lowest bits. Both extents are rounded up: lanes to 16, depth to
// 32 / bits; codes of the padding are zero.
//
// With `levels`, bits must be 4 and a code stands for one of 16 bytes: levels[channel * 16 + code], where channel is
// the depth of a key and the lane of a value; padded channels have levels too.
//
// With `shares` too, one code stands for a level of several channels: the codes are in blocks of 8 depths of a key or
// 16 lanes of a value, first shares[0] blocks whose codes have one channel each, then shares[1] with two, shares[2]
// with four, shares[3] with eight. A block of n channels to a code is read n times, each time for the next 8 or 16
// channels. Both extents count channels; they are what the blocks make, and no padding.
struct CodeMatrix {
  const std::uint8_t* codes = nullptr;
  std::uint32_t bits = 4;
  std::uint32_t lanes = 0;
  std::uint32_t depth = 0;
  const std::uint8_t* levels = nullptr;
  const std::uint8_t* shares = nullptr;  // [kShareKinds]
};

// Bytes of a packed matrix.
constexpr std::size_t code_bytes(std::uint32_t lanes, std::uint32_t depth, std::uint32_t bits) {
  const std::size_t quads = 8 / bits;  // depths of one vector over kCodeQuad
  const std::size_t vectors = (depth + kCodeQuad * quads - 1) / (kCodeQuad * quads);
  return (lanes + kCodeLanes - 1) / kCodeLanes * vectors * 64;
}

// Channels of a block of codes that each stand for one.
inline constexpr std::uint32_t kKeyShareBlock = 8, kValueShareBlock = 16;

// Of a matrix with shares: how many blocks of codes there are, and channels over those of a block.
struct ShareExtents {
  std::uint32_t blocks = 0, reads = 0;
};
constexpr ShareExtents share_extents(const std::uint8_t* shares) {
  ShareExtents extents;
  for (std::uint32_t kind = 0; kind < kShareKinds; ++kind) {
    extents.blocks += shares[kind];
    extents.reads += std::uint32_t{shares[kind]} << kind;
  }
  return extents;
}

// Of a matrix with shares: the block of codes that a channel is read from. Requires: it is within the reads.
constexpr std::uint32_t shared_block(const std::uint8_t* shares, std::uint32_t read) {
  std::uint32_t block = 0;
  for (std::uint32_t kind = 0; kind < kShareKinds; ++kind) {
    const std::uint32_t reads = std::uint32_t{shares[kind]} << kind;
    if (read < reads) return block + (read >> kind);
    read -= reads;
    block += shares[kind];
  }
  return block;
}

// Bytes of the packed codes of a matrix with shares: of `blocks` blocks, of 64 tokens.
constexpr std::size_t shared_code_bytes(std::uint32_t blocks, bool keys) {
  return std::size_t{blocks} * (keys ? code_bytes(64, kKeyShareBlock, 4) : code_bytes(kValueShareBlock, 64, 4));
}

// Keys of one head: K[t, d] = offset[d] + channel_scale[d] * token_scale[d / 32, t] * (level(code) - twice_middle / 2).
// A null scale is 1, a null offset 0.
struct CodeKeys {
  CodeMatrix codes;                      // lanes: tokens, a multiple of 16, at most 64; depth: channels
  std::int32_t twice_middle = 0;         // so that a middle between two codes is possible
  const float* channel_scale = nullptr;  // [depth]
  const float* offset = nullptr;         // [depth]
  const float* token_scale = nullptr;    // [segments, lanes], or [lanes] when token_scale_stride is 0
  std::uint32_t token_scale_stride = 0;  // floats from one segment's scales to the next
  std::uint8_t boxes = kWholePage;       // of the lanes: others are not read
};

// Values of one head: V[t, d] = channel_scale[d] * (token_scale[d / group, t] * (level(code) - twice_middle / 2)
// + token_offset[d / group, t]).
struct CodeValues {
  CodeMatrix codes;  // lanes: channels; depth: tokens, at most 64
  std::int32_t twice_middle = 0;
  std::uint32_t group = 32;              // channels, a multiple of 16
  const float* token_scale = nullptr;    // [groups, depth], not negative, finite
  const float* token_offset = nullptr;   // [groups, depth], or null
  const float* channel_scale = nullptr;  // [lanes], or null
  std::uint8_t boxes = kWholePage;       // of the tokens: the codes of others are not read
};

}  // namespace cairn

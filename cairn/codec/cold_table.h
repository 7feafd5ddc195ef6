// SPDX-License-Identifier: Apache-2.0
// The table of a cold form (cold_form.h) for one layer and slot, as codebooks hold it. n channels are those of all KV
// heads together.
//
//   axes       u32                    how many are kept: a multiple of 16, at most n
//   shift      f32                    what a code that is not zero stands for beyond its own size, in steps
//   zeros      8 bytes
//   mean       [n] f32                of keys before they are rotated, of values
//   saliency   [n] f32                of keys: log2 of how much attention a key draws, from its distance to the mean
//   forward    [n][n] f32             code[i] = round(scale * sum over d of (x[d] - mean[d]) forward[d][i]); the rows
//                                     are `axes` long and lie behind each other, zeros follow
//   back       [n][n] f32             x[d] = mean[d] + sum over i of value[i] back[i][d]; zeros after `axes` rows
//   counts     [1 + n / 8][64] u16    frequencies: of the tokens' scales, then of the codes on 8 axes each
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cairn/base/result.h"
#include "cairn/block/shape.h"
#include "cairn/codec/rans.h"

namespace cairn::cold {

inline constexpr std::uint32_t kTableId = 80;     // codec_id() of the codebooks
inline constexpr std::uint32_t kAxesUnit = 16;    // kept axes are a multiple of it
inline constexpr std::uint32_t kRunAxes = 8;      // that share frequencies
inline constexpr std::uint32_t kMaxWidth = 2048;  // channels of all KV heads

// Scales of a token's steps are half octaves; their symbol says how many, kScaleMiddle is none.
inline constexpr std::int32_t kScaleMiddle = 4;
inline constexpr std::int32_t kLeastScale = -2, kGreatestScale = 20;
// The symbol for a saliency.
std::uint32_t scale_symbol(float saliency);
// What steps are divided by; for any symbol.
float scale_of(std::uint32_t symbol);

inline std::uint32_t width_of(PageShape shape) {
  return static_cast<std::uint32_t>(shape.values_per_token());
}

// Where the parts of a table lie: bytes from its beginning.
struct TablePlaces {
  std::size_t mean, saliency, forward, back, counts, end;

  static TablePlaces of(PageShape shape) {
    const std::size_t n = width_of(shape), begin = 16, floats = sizeof(float) * n;
    const std::size_t counts = begin + 2 * floats + 2 * floats * n;
    return {.mean = begin,
            .saliency = begin + floats,
            .forward = begin + 2 * floats,
            .back = begin + 2 * floats + floats * n,
            .counts = counts,
            .end = counts + (1 + n / kRunAxes) * rans::kSymbols * sizeof(std::uint16_t)};
  }
};

// A table that is aligned for floats. Not owned.
struct TableView {
  std::uint32_t axes = 0;
  float shift = 0;
  const float* mean = nullptr;
  const float* saliency = nullptr;
  const float* forward = nullptr;
  const float* back = nullptr;
  const std::uint16_t* counts = nullptr;

  static TableView of(PageShape shape, const std::byte* table);
  // Of the scales for run 0, of the codes on axes from 8 (run - 1) on for the others.
  std::span<const std::uint16_t, rans::kSymbols> run(std::uint32_t run) const {
    return std::span<const std::uint16_t, rans::kSymbols>(counts + std::size_t{run} * rans::kSymbols, rans::kSymbols);
  }
  std::uint32_t runs() const { return 1 + axes / kRunAxes; }
};

// kUnsupported for a model whose layers a cold form cannot hold.
Status check_shape(PageShape shape);

// The table of one layer and slot as encoder and decoder trust it: kCorrupt when it has the wrong size, a number that
// is not finite, axes that make no sense, or frequencies that are none.
Status check_table(PageShape shape, std::span<const std::byte> table);

}  // namespace cairn::cold

// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/key_sketches.h"

#include <algorithm>
#include <cmath>

#include "cairn/base/half.h"
#include "cairn/codec/codec.h"
#include "cairn/kernels/kernels.h"

namespace cairn::cache {
namespace {

// Half a step over the deviation of the values: the best for four even levels of a normal distribution.
constexpr float kHalfStep = 0.4979f;
constexpr float kMaxScale = 65504.0f;  // the greatest f16

// Takes the middle off the rows of one head, `width` apart, and adds up their squares, channels in order. Several rows
// side by side, since each sum waits for itself.
void centre(float* rows, std::size_t width, std::span<const float> middle, float* squares) {
  constexpr std::size_t kRows = 8;
  static_assert(kBlockTokens % kRows == 0);
  for (std::size_t t = 0; t < kBlockTokens; t += kRows, rows += kRows * width) {
    for (std::size_t d = 0; d < middle.size(); ++d) {
      for (std::size_t i = 0; i < kRows; ++i) {
        float& value = rows[i * width + d];
        value -= middle[d];
        squares[t + i] += value * value;
      }
    }
  }
}

// 0 to 3: the whole number below, counted from -2. What is no number is the least.
std::uint8_t level_of(float steps) {
  return static_cast<std::uint8_t>((steps >= -1 ? 1 : 0) + (steps >= 0 ? 1 : 0) + (steps >= 1 ? 1 : 0));
}

}  // namespace

void SketchQueries::round(std::span<const float> q, std::uint32_t dim) {
  const std::size_t heads = q.size() / dim, padded = std::size_t{sketch_vectors(dim)} * kSketchChannels;
  queries_.resize(heads);
  codes_.assign(heads * padded, 0);
  for (std::size_t h = 0; h < heads; ++h) {
    const float* from = q.data() + h * dim;
    std::int8_t* to = codes_.data() + h * padded;
    float largest = 0;
    for (std::uint32_t d = 0; d < dim; ++d) largest = std::max(largest, std::fabs(from[d]));
    const float inverse = std::isnormal(largest) && std::isfinite(127.0f / largest) ? 127.0f / largest : 0.0f;
    std::int32_t sum = 0;
    for (std::uint32_t d = 0; d < dim; ++d) {
      const float value = from[d] * inverse;
      if (!(std::fabs(value) < 127.4f)) continue;  // no number: it stays zero
      to[d] = static_cast<std::int8_t>(value + (value < 0 ? -0.5f : 0.5f));
      sum += to[d];
    }
    queries_[h] = {.q = from, .codes = to, .scale = inverse > 0 ? largest / 127.0f : 0.0f, .sum = sum};
  }
}

void KeySketches::cover(std::span<const PageView> pages, std::size_t blocks, const Basis& basis, Reservation& room,
                        ThreadPool& pool) {
  const std::size_t covered = sheets_.blocks();
  if (blocks <= covered) return;
  sheets_.grow(blocks, room);
  // Sheet by sheet: the first block of each says what the others are counted from.
  const std::size_t first = covered / kSheetBlocks;
  pool.run(sheets_.count() - first, [&](std::size_t i, unsigned) {
    const std::size_t from = std::max(covered, (first + i) * kSheetBlocks);
    for (std::size_t b = from; b < std::min(blocks, (first + i + 1) * kSheetBlocks); ++b) write(pages[b], b, basis);
  });
}

void KeySketches::write(const PageView& page, std::size_t block, const Basis& basis) const {
  const std::size_t dim = shape_.head_dim, width = shape_.values_per_token(), vectors = sketch_vectors(shape_.head_dim);
  std::vector<float> keys(kBlockTokens * width);
  std::vector<std::uint8_t> levels(vectors * kSketchChannels);  // of channels beyond the head the least
  page.key_format->codec->decode(*page.key_format, page.keys, kBlockTokens, keys.data());
  if (!basis.is_hadamard()) {
    basis.turn_tokens_back(keys);
    hadamard_heads(keys, shape_.head_dim);
  }
  for (std::uint32_t h = 0; h < shape_.kv_heads; ++h) {
    std::byte* head = sheets_.data(block / kSheetBlocks) + h * head_bytes();
    auto* codes = reinterpret_cast<std::uint8_t*>(head);
    auto* scales = reinterpret_cast<std::uint16_t*>(head + code_bytes());
    auto* middle = reinterpret_cast<float*>(head + code_bytes() + scale_bytes());
    if (block % kSheetBlocks == 0) {
      for (std::size_t d = 0; d < dim; ++d) {
        float sum = 0;
        for (std::uint32_t t = 0; t < kBlockTokens; ++t) sum += keys[t * width + h * dim + d];
        middle[d] = sum / kBlockTokens;
      }
    }
    float squares[kBlockTokens] = {};
    centre(keys.data() + h * dim, width, {middle, dim}, squares);
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
      const std::size_t box = block % kSheetBlocks * kBlockBoxes + t / kBoxTokens, slot = t % kBoxTokens;
      std::uint16_t& scale = scales[slot * kSketchBoxes + box];
      scale = f32_to_f16(std::min(kHalfStep * std::sqrt(squares[t] / static_cast<float>(dim)), kMaxScale));
      const float step = 2 * f16_to_f32(scale), inverse = step > 0 ? 1 / step : 0.0f;
      const float* key = keys.data() + t * width + h * dim;
      for (std::size_t d = 0; d < dim; ++d) levels[d] = level_of(key[d] * inverse);
      for (std::size_t vector = 0; vector < vectors; ++vector) {
        const std::uint8_t* from = levels.data() + vector * kSketchChannels;
        std::uint8_t* to = codes + (slot * vectors + vector) * 64 + box * 4;
        for (std::uint32_t j = 0; j < 4; ++j) {
          to[j] = static_cast<std::uint8_t>(from[j] | from[j + 4] << 2 | from[j + 8] << 4 | from[j + 12] << 6);
        }
      }
    }
  }
}

void KeySketches::tops(std::uint32_t kv_head, std::size_t sheet, const SketchQuery* queries, std::uint32_t rows,
                       float* tops) const {
  const std::byte* head = sheets_.data(sheet) + kv_head * head_bytes();
  const SketchSheet what = {.codes = reinterpret_cast<const std::uint8_t*>(head),
                            .scales = reinterpret_cast<const std::uint16_t*>(head + code_bytes()),
                            .middle = reinterpret_cast<const float*>(head + code_bytes() + scale_bytes()),
                            .depth = shape_.head_dim};
  PrefetchHint next;
  if (sheet + 1 < sheets_.count()) next = {sheets_.data(sheet + 1) + kv_head * head_bytes(), head_bytes()};
  kernels().sketch_tops(what, queries, rows, next, tops);
}

}  // namespace cairn::cache

// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/key_boxes.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/base/half.h"
#include "cairn/codec/codec.h"
#include "cairn/kernels/kernels.h"

namespace cairn::cache {
namespace {

// The least f16 that is not below `value`, as far as f16 reaches.
std::uint16_t round_up(float value) {
  const std::uint16_t nearest = f32_to_f16(value);
  if (f16_to_f32(nearest) >= value) return nearest;
  if (nearest == 0x8000) return 0x0001;  // -0 is below the least positive number
  return static_cast<std::uint16_t>(nearest < 0x8000 ? nearest + 1 : nearest - 1);
}

std::uint16_t round_down(float value) {
  return static_cast<std::uint16_t>(round_up(-value) ^ 0x8000);
}

}  // namespace

void KeyBoxes::cover(std::span<const PageView> pages, std::size_t blocks, Reservation& room, ThreadPool& pool) {
  const std::size_t first = sheets_.blocks();
  if (blocks <= first) return;
  sheets_.grow(blocks, room);
  pool.run(blocks - first, [&](std::size_t i, unsigned) { write(pages[first + i], first + i); });
}

void KeyBoxes::write(const PageView& page, std::size_t block) const {
  const std::size_t dim = shape_.head_dim, width = shape_.values_per_token();
  std::vector<float> keys(kBlockTokens * width);
  page.key_format->codec->decode(*page.key_format, page.keys, kBlockTokens, keys.data());
  std::uint16_t* sheet = values(block / sheet_blocks());
  for (std::uint32_t b = 0; b < per_block(); ++b) {
    const float* first = keys.data() + b * kind_.tokens * width;
    const std::size_t lane = block % sheet_blocks() * per_block() + b;
    for (std::size_t c = 0; c < width; ++c) {
      std::uint16_t* head = sheet + c / dim * depth() * kBlockTokens;
      if (kind_.means) {
        float sum = 0;
        for (std::uint32_t t = 0; t < kind_.tokens; ++t) sum += first[t * width + c];
        head[c % dim * kBlockTokens + lane] = f32_to_f16(sum / static_cast<float>(kind_.tokens));
        continue;
      }
      float low = std::numeric_limits<float>::infinity(), high = -low;
      for (std::uint32_t t = 0; t < kind_.tokens; ++t) {
        low = std::min(low, first[t * width + c]);
        high = std::max(high, first[t * width + c]);
      }
      head[c % dim * kBlockTokens + lane] = round_up(high);
      head[(dim + c % dim) * kBlockTokens + lane] = round_down(low);
    }
  }
}

void KeyBoxes::scores(std::uint32_t kv_head, const float* folded, std::uint32_t rows, std::span<float> scores) const {
  const std::size_t boxes = scores.size() / rows;
  CAIRN_CHECK(boxes <= blocks() * per_block());
  std::vector<float> sheet_scores(std::size_t{rows} * kBlockTokens);
  for (std::size_t s = 0; s * kBlockTokens < boxes; ++s) {
    kernels().scores[static_cast<std::size_t>(Element::kF16)](values(s) + std::size_t{kv_head} * depth() * kBlockTokens,
                                                              depth(), folded, rows, kAllBoxes, {},
                                                              sheet_scores.data());
    const std::size_t first = s * kBlockTokens, count = std::min<std::size_t>(kBlockTokens, boxes - first);
    for (std::uint32_t r = 0; r < rows; ++r) {
      std::copy_n(sheet_scores.data() + std::size_t{r} * kBlockTokens, count, scores.data() + r * boxes + first);
    }
  }
}

}  // namespace cairn::cache

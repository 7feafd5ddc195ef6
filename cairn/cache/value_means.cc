// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/value_means.h"

#include <vector>

#include "cairn/codec/codec.h"
#include "cairn/kernels/kernels.h"

namespace cairn::cache {
namespace {

constexpr auto kF16 = static_cast<std::size_t>(Element::kF16);

}  // namespace

void ValueMeans::cover(std::span<const PageView> pages, std::size_t blocks, Reservation& room, ThreadPool& pool) {
  const std::size_t first = sheets_.blocks();
  if (blocks <= first) return;
  sheets_.grow(blocks, room);
  pool.run(blocks - first, [&](std::size_t i, unsigned) { write(pages[first + i], first + i); });
}

void ValueMeans::write(const PageView& page, std::size_t block) const {
  const std::size_t dim = shape_.value_dim(), stride = shape_.head_dim, width = shape_.values_per_token();
  std::vector<float> values_of_page(kBlockTokens * width), mean(dim);
  page.value_format->codec->decode(*page.value_format, page.values, kBlockTokens, values_of_page.data());
  std::uint16_t* sheet = values(block / kSheetBlocks);
  for (std::uint32_t b = 0; b < kBlockBoxes; ++b) {
    const std::size_t lane = block % kSheetBlocks * kBlockBoxes + b;
    for (std::size_t h = 0; h < shape_.kv_heads; ++h) {
      const float* first = values_of_page.data() + b * kBoxTokens * width + h * stride;
      for (std::size_t c = 0; c < dim; ++c) {
        float sum = 0;
        for (std::uint32_t t = 0; t < kBoxTokens; ++t) sum += first[t * width + c];
        mean[c] = sum / static_cast<float>(kBoxTokens);
      }
      kernels().narrow[kF16](mean.data(), dim, sheet + h * head_values() + lane * dim);
    }
  }
}

void ValueMeans::accumulate(std::uint32_t kv_head, std::size_t sheet, const float* p, const float* correction,
                            std::uint32_t rows, float* acc) const {
  kernels().accumulate[kF16](values(sheet) + kv_head * head_values(), shape_.value_dim(), p, correction, rows,
                             kBlockTokens, kAllBoxes, {}, acc);
}

}  // namespace cairn::cache

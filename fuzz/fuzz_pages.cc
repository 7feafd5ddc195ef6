// SPDX-License-Identifier: Apache-2.0
// Any bytes are a page of any codec: decoding it and attending over it must stay inside it, whatever comes out.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cairn/testing/codec_pages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  if (size < 4) return 0;
  const auto table = codec_table();
  const Codec& codec = table[data[0] % table.size()];
  constexpr std::uint32_t kDims[] = {8, 16, 24, 64, 80, 128};
  const PageShape shape{.kv_heads = 1 + data[1] % 3u, .head_dim = kDims[data[1] / 3 % 6]};
  if (!check_shape(codec, shape)) return 0;
  const PageSlot slot = data[2] % 2 == 0 ? PageSlot::kKeys : PageSlot::kValues;
  const std::uint32_t head = data[2] / 2 % shape.kv_heads, rows = 1 + data[3] % 6u;
  const PageFormat format = testing::test_format(codec, shape, slot);
  testing::PageMemory page(codec.page_bytes(format));
  std::memcpy(page.data(), data + 4, std::min(size - 4, page.size()));

  std::vector<float> decoded(kBlockTokens * shape.values_per_token());
  codec.decode(format, page.data(), kBlockTokens, decoded.data());
  const auto boxes = static_cast<std::uint8_t>(data[3] / 6 % (kAllBoxes + 1u));
  std::vector<float> p(rows * kBlockTokens, 0.01f);
  for (std::size_t i = 0; i < p.size(); ++i) p[i] = (boxes >> i % kBlockTokens / kBoxTokens & 1) != 0 ? p[i] : 0.0f;
  const std::vector<float> q(rows * shape.head_dim, 0.3f), correction(rows, 1.0f);
  std::vector<float> scores(rows * kBlockTokens), acc(rows * shape.head_dim);
  const PrefetchHint part = codec.head_part(format, page.data(), head, boxes);
  if (slot == PageSlot::kKeys) {
    codec.scores(format, page.data(), head, q.data(), rows, boxes, part, scores.data());
  } else {
    codec.accumulate(format, page.data(), head, p.data(), correction.data(), rows, kBlockTokens, boxes, part,
                     acc.data());
  }
  return 0;
}

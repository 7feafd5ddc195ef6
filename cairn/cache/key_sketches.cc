// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/key_sketches.h"

#include <algorithm>

namespace cairn::cache {

KeySketches::KeySketches(const Codec& codec, PageShape shape)
    : format_{.codec = &codec, .shape = shape, .slot = PageSlot::kKeys}, page_bytes_(codec.page_bytes(format_)) {}

std::size_t KeySketches::growth(std::size_t blocks) const {
  return blocks > this->blocks() ? (blocks - this->blocks()) * page_bytes_ : 0;
}

void KeySketches::cover(std::span<const PageView> pages, std::size_t blocks, bool hadamard, ThreadPool& pool) {
  const std::size_t first = this->blocks(), width = format_.shape.values_per_token();
  if (blocks <= first) return;
  const PageFormat open = open_format(format_);
  sketches_.resize(blocks);
  pool.run(blocks - first, [&](std::size_t i, unsigned) {
    const PageView& page = pages[first + i];
    std::vector<float> keys(kBlockTokens * width);
    page.key_format->codec->decode(*page.key_format, page.keys, kBlockTokens, keys.data());
    if (hadamard != format_.codec->hadamard) hadamard_heads(keys, format_.shape.head_dim);
    Scratch<std::byte> raw;
    raw.ensure(open.codec->page_bytes(open));
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
      open.codec->store_token(open, raw.data(), t, keys.data() + t * width);
    }
    const auto sketch = std::make_shared<Scratch<std::byte>>();
    sketch->ensure(page_bytes_);
    format_.codec->encode(format_, {raw.data(), nullptr}, sketch->data());
    sketches_[first + i] = sketch;
  });
}

void KeySketches::shrink(std::size_t blocks) {
  if (blocks < this->blocks()) sketches_.resize(blocks);
}

}  // namespace cairn::cache

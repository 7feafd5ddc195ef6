// SPDX-License-Identifier: Apache-2.0
// Test support: keys and values of one layer in pages of any codec, and attention over them in plain loops of doubles.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/testing/codec_pages.h"
#include "cairn/testing/random.h"

namespace cairn::testing {

// Tokens of one layer in pages of at most 64, with positions of their own. Not to be copied: pages point into it.
struct AttendedKeys {
  PageShape shape;
  std::vector<float> k, v;  // [tokens, kv_heads, head_dim] as stored, read back through the codec
  std::vector<std::int32_t> positions;
  std::array<PageFormat, 2> formats;  // of keys and of values
  std::deque<PageMemory> storage;     // pages do not move
  std::vector<PageView> pages;

  // `counts`: tokens of each page.
  AttendedKeys(PageShape page_shape, const Codec& codec, std::span<const std::uint32_t> counts,
               std::vector<std::int32_t> token_positions)
      : shape(page_shape),
        positions(std::move(token_positions)),
        formats{test_format(codec, shape, PageSlot::kKeys), test_format(codec, shape, PageSlot::kValues)} {
    const std::size_t width = shape.values_per_token();
    k = random_floats(positions.size() * width, 1);
    v = random_floats(positions.size() * width, 2);
    basis().keys.turn_tokens(k);
    basis().values.turn_tokens(v);
    std::size_t first = 0;
    for (const std::uint32_t count : counts) {
      const auto& keys = storage.emplace_back(make_page(formats[0], std::span(k).subspan(first * width), count));
      const auto& values = storage.emplace_back(make_page(formats[1], std::span(v).subspan(first * width), count));
      codec.decode(formats[0], keys.data(), count, k.data() + first * width);
      codec.decode(formats[1], values.data(), count, v.data() + first * width);
      const auto begin = positions.begin() + static_cast<std::ptrdiff_t>(first);
      const auto [low, high] = std::minmax_element(begin, begin + count);
      pages.push_back(
          {keys.data(), values.data(), &formats[0], &formats[1], positions.data() + first, count, *low, *high});
      first += count;
    }
    turn_back();
  }
  AttendedKeys(const AttendedKeys&) = delete;
  AttendedKeys& operator=(const AttendedKeys&) = delete;

  LayerBasis basis() const { return {basis_of(formats[0]), basis_of(formats[1])}; }

 private:
  // Back into that of the model, from what pages decode to.
  void turn_back() {
    basis().keys.turn_tokens_back(k);
    basis().values.turn_tokens_back(v);
  }
};

inline std::vector<std::uint32_t> full_pages(std::size_t tokens) {
  std::vector<std::uint32_t> counts(tokens / kBlockTokens, kBlockTokens);
  if (tokens % kBlockTokens != 0) counts.push_back(static_cast<std::uint32_t>(tokens % kBlockTokens));
  return counts;
}

inline std::vector<std::int32_t> first_positions(std::size_t count) {
  std::vector<std::int32_t> all(count);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// Softmax attention in doubles, masked by position, over the tokens that `reads` says of a KV head, or over all.
inline std::vector<double> exact_attention(const AttendedKeys& keys, const AttendLayer& layer,
                                           const std::vector<float>& q, const std::vector<std::int32_t>& positions,
                                           const std::function<bool(std::size_t, std::size_t)>& reads = {}) {
  const std::uint32_t dim = keys.shape.head_dim, heads = layer.heads, group = heads / keys.shape.kv_heads;
  const double cap = layer.score_cap;
  std::vector<double> out(q.size());
  for (std::size_t row = 0; row < positions.size(); ++row) {
    for (std::uint32_t h = 0; h < heads; ++h) {
      const float* query = q.data() + (row * heads + h) * dim;
      double total = layer.sinks.empty() ? 0 : std::exp(static_cast<double>(layer.sinks[h]));
      std::vector<double> sum(dim);
      for (std::size_t t = 0; t < keys.positions.size(); ++t) {
        if (keys.positions[t] > positions[row]) continue;
        if (reads && !reads(h / group, t)) continue;
        if (layer.window != 0 && positions[row] - keys.positions[t] >= std::int64_t{layer.window}) continue;
        const std::size_t at = (t * keys.shape.kv_heads + h / group) * dim;
        double score = 0;
        for (std::uint32_t d = 0; d < dim; ++d) score += static_cast<double>(query[d]) * keys.k[at + d];
        const double weight = std::exp(cap == 0 ? score : cap * std::tanh(score / cap));
        total += weight;
        for (std::uint32_t d = 0; d < dim; ++d) sum[d] += weight * keys.v[at + d];
      }
      for (std::uint32_t d = 0; d < dim; ++d) out[(row * heads + h) * dim + d] = sum[d] / total;
    }
  }
  return out;
}

inline void expect_near(const std::vector<float>& got, const std::vector<double>& expected, double bound = 2e-5) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], bound) << i;
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace cairn::testing

// SPDX-License-Identifier: Apache-2.0
// Test support: pages of any codec from rows of floats, and codebooks without training, for normal values of any
// variance.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <span>
#include <tuple>
#include <vector>

#include "cairn/codec/axes_table.h"
#include "cairn/codec/codec.h"
#include "cairn/codec/pq_head.h"
#include "cairn/testing/random.h"

namespace cairn::testing {

// The 16 levels with the least squared error for a standard normal variable (Max, 1960).
inline constexpr std::array<float, 16> kNormalLevels = {-2.733f, -2.069f, -1.618f, -1.256f, -0.942f, -0.657f,
                                                        -0.388f, -0.128f, 0.128f,  0.388f,  0.657f,  0.942f,
                                                        1.256f,  1.618f,  2.069f,  2.733f};

// Two reflections, one after the other: orthogonal, and not symmetric. [dim, dim]
inline std::vector<float> test_rotation(std::uint32_t dim, std::uint32_t seed) {
  std::vector<float> matrix(std::size_t{dim} * dim);
  for (std::uint32_t i = 0; i < dim; ++i) matrix[i * dim + i] = 1.0f;
  for (const std::uint32_t mirror : {seed, seed + 100}) {
    const auto v = random_floats(dim, mirror);
    const double square = std::inner_product(v.begin(), v.end(), v.begin(), 0.0);
    for (std::uint32_t i = 0; i < dim; ++i) {
      float* row = matrix.data() + std::size_t{i} * dim;
      const double along = 2 * std::inner_product(v.begin(), v.end(), row, 0.0) / square;
      for (std::uint32_t j = 0; j < dim; ++j) row[j] -= static_cast<float>(along) * v[j];
    }
  }
  return matrix;
}

// Of codec `axes`: some codes stand for two axes, the others for one.
inline std::vector<std::byte> make_normal_axes(PageShape shape, PageSlot slot) {
  constexpr float kFour[] = {-1.510f, -0.4528f, 0.4528f, 1.510f};  // the best four levels
  const std::uint32_t dim = shape.head_dim, block = codecs::axes_block(slot), reads = dim / block;
  std::vector<std::byte> table(codecs::axes_table_bytes(shape));
  auto* matrices = reinterpret_cast<float*>(table.data());
  for (std::uint32_t h = 0; h < shape.kv_heads; ++h) {
    const auto rotation = test_rotation(dim, h + 1);
    for (std::uint32_t d = 0; d < dim; ++d) {
      for (std::uint32_t i = 0; i < dim; ++i) {
        float* own = matrices + std::size_t{h} * 3 * dim * dim;
        const float value = rotation[d * dim + i];
        own[d * dim + i] = own[std::size_t{2} * dim * dim + d * dim + i] = value;
        own[std::size_t{dim} * dim + i * dim + d] = value;
      }
    }
    const codecs::AxesPlaces at = codecs::AxesPlaces::of(shape, h);
    auto* scale = reinterpret_cast<float*>(table.data() + at.scale);
    auto* weight = reinterpret_cast<float*>(table.data() + at.weight);
    const std::uint32_t pairs = reads / 2;
    table[at.shares] = static_cast<std::byte>(reads - 2 * pairs);
    table[at.shares + 1] = static_cast<std::byte>(pairs);
    for (std::uint32_t d = 0; d < dim; ++d) {
      scale[d] = 2.733f / codecs::kAxesMiddle;
      weight[d] = 1.0f;
      const std::uint32_t first = (reads - 2 * pairs) * block;
      for (std::uint32_t code = 0; code < codecs::kAxesLevels; ++code) {
        const bool second = d >= first && (d - first) / block % 2 == 1;
        const float value = d < first ? kNormalLevels[code] : kFour[second ? code / 4 : code % 4];
        table[at.levels + d * codecs::kAxesLevels + code] =
            static_cast<std::byte>(std::lround((value / 2.733f + 1.0f) * codecs::kAxesMiddle));
      }
    }
  }
  return table;
}

inline std::vector<std::byte> make_normal_codebook(const Codec& codec, PageShape shape, PageSlot slot) {
  if (codec.id == codecs::kAxesId) return make_normal_axes(shape, slot);
  const codecs::PqForm form = codecs::pq_form(codec.id).value();
  const std::uint32_t dim = shape.head_dim;
  std::vector<float> floats(2 * std::size_t{dim});  // means stay zero
  std::fill_n(floats.begin() + dim, dim, 2.733f / codecs::kPqMiddle);
  const auto level = [](std::size_t code) {
    return static_cast<std::byte>(std::lround((kNormalLevels[code] / 2.733f + 1.0f) * codecs::kPqMiddle));
  };
  std::vector<std::byte> levels;
  while (levels.size() < codecs::pq_level_bytes(form, dim)) {
    for (std::size_t c = 0; c < (form == codecs::PqForm::kChannels ? codecs::kPqLevels : codecs::kPqCentroids); ++c) {
      levels.push_back(level(c % codecs::kPqLevels));
      if (form == codecs::PqForm::kPairs) levels.push_back(level(c / codecs::kPqLevels));
    }
  }
  std::vector<std::byte> table;
  for (std::uint32_t h = 0; h < shape.kv_heads; ++h) {
    const auto bytes = std::as_bytes(std::span(floats));
    table.insert(table.end(), bytes.begin(), bytes.end());
    table.insert(table.end(), levels.begin(), levels.end());
  }
  return table;
}

// The same table for the life of the program.
inline const std::byte* normal_codebook(const Codec& codec, PageShape shape, PageSlot slot) {
  static std::mutex mutex;
  static std::map<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, PageSlot>, std::vector<std::byte>> tables;
  const std::lock_guard lock(mutex);
  auto& table = tables[{codec.id, shape.kv_heads, shape.head_dim, slot}];
  if (table.empty()) table = make_normal_codebook(codec, shape, slot);
  return table.data();
}

// 64-byte aligned, as pages are.
class PageMemory {
 public:
  explicit PageMemory(std::size_t bytes) : lines_(bytes / sizeof(Line)) {}
  std::byte* data() { return reinterpret_cast<std::byte*>(lines_.data()); }
  const std::byte* data() const { return reinterpret_cast<const std::byte*>(lines_.data()); }
  std::size_t size() const { return lines_.size() * sizeof(Line); }
  bool operator==(const PageMemory&) const = default;

 private:
  struct alignas(64) Line {
    std::byte bytes[64] = {};
    bool operator==(const Line&) const = default;
  };
  std::vector<Line> lines_;
};

// With a codebook for normal values, where the codec needs one.
inline PageFormat test_format(const Codec& codec, PageShape shape, PageSlot slot) {
  return {.codec = &codec,
          .shape = shape,
          .slot = slot,
          .codebook = codec.needs_codebook ? normal_codebook(codec, shape, slot) : nullptr};
}

// A page of the first `tokens` of `rows` [tokens, kv_heads, head_dim], which lie in the basis of the codec. Codecs that
// encode get a full block, the missing tokens being zeros, and mass that falls from the first token to the last.
inline PageMemory make_page(const PageFormat& format, std::span<const float> rows, std::uint32_t tokens) {
  const PageFormat open = open_format(format);
  const std::size_t width = format.shape.values_per_token();
  PageMemory page(open.codec->page_bytes(open));
  for (std::uint32_t t = 0; t < tokens; ++t) open.codec->store_token(open, page.data(), t, rows.data() + t * width);
  if (format.codec->encode == nullptr) return page;
  std::vector<float> mass(std::size_t{format.shape.kv_heads} * kBlockTokens);
  for (std::size_t i = 0; i < mass.size(); ++i) mass[i] = 1.0f / static_cast<float>(1 + i % kBlockTokens);
  PageMemory encoded(format.codec->page_bytes(format));
  format.codec->encode(format, {page.data(), mass.data()}, encoded.data());
  return encoded;
}

}  // namespace cairn::testing

// SPDX-License-Identifier: Apache-2.0
#include "cairn/attention/attend.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "cairn/base/check.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace {

// Rows (tokens times the query heads of a KV head) that share one pass over a page: their scores stay in the
// second-level cache.
constexpr std::uint32_t kTileQueryRows = 64;
// Below this many items per thread, one pass is divided along the keys as well.
constexpr std::size_t kItemsPerThread = 4;

// The working memory of one item, carved from one allocation.
struct Tile {
  float* q;
  float* scores;
  float* correction;
  std::uint64_t* masks;
  SoftmaxState part;   // of the current split
  SoftmaxState total;  // of the splits before it

  static std::size_t floats(std::uint32_t rows, std::uint32_t head_dim) {
    return std::size_t{rows} * (3 * head_dim + kBlockTokens + 7) + 16 * 10;
  }

  Tile(float* memory, std::uint32_t rows, std::uint32_t head_dim) {
    const auto take = [&memory](std::size_t count) {
      float* taken = memory;
      memory += (count + 15) / 16 * 16;
      return taken;
    };
    const std::size_t matrix = std::size_t{rows} * head_dim;
    q = take(matrix);
    scores = take(std::size_t{rows} * kBlockTokens);
    correction = take(rows);
    masks = reinterpret_cast<std::uint64_t*>(take(std::size_t{rows} * 2));
    part = {take(rows), take(rows), take(matrix)};
    total = {take(rows), take(rows), take(matrix)};
  }
};

void reset(const SoftmaxState& state, std::uint32_t rows, std::uint32_t head_dim) {
  std::fill_n(state.max, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(state.sum, rows, 0.0f);
  std::fill_n(state.acc, std::size_t{rows} * head_dim, 0.0f);
}

std::uint64_t visible(const PageView& page, std::int32_t position) {
  const std::uint64_t all = page.count == 64 ? ~0ull : (1ull << page.count) - 1;
  if (page.max_position <= position) return all;
  std::uint64_t mask = 0;
  for (std::uint32_t t = 0; t < page.count; ++t) mask |= std::uint64_t{page.positions[t] <= position} << t;
  return mask;
}

// A split's result as it is kept between the two passes: [rows] max, [rows] sum, [rows, head_dim] acc.
SoftmaxState state_at(float* memory, std::uint32_t rows) {
  return {memory, memory + rows, memory + 2 * rows};
}

}  // namespace

// Some tokens of one sequence under one KV head, over the splits [first_split, last_split).
struct Attention::Item {
  const AttendRows* rows;
  std::uint32_t kv_head;
  std::uint32_t first_row;
  std::uint32_t row_count;
  std::uint32_t first_split;
  std::uint32_t last_split;
  float* partial;  // where to leave the result for merging; nullptr when the item covers every split
};

Attention::Attention(PageShape shape, std::uint32_t heads, const Codec& keys, const Codec& values)
    : shape_(shape), heads_(heads), keys_(keys), values_(values) {
  CAIRN_CHECK(shape.kv_heads > 0 && heads % shape.kv_heads == 0);
}

Attention::~Attention() = default;

void Attention::attend(std::span<const AttendRows> batch, ThreadPool& pool) {
  const std::uint32_t group = heads_ / shape_.kv_heads;
  const std::uint32_t tile_tokens = std::max(1u, kTileQueryRows / group);
  const std::size_t max_rows = std::size_t{tile_tokens} * group;
  const auto splits_of = [](const AttendRows& rows) {
    return static_cast<std::uint32_t>((rows.pages.size() + kSplitPages - 1) / kSplitPages);
  };
  items_.clear();
  for (const AttendRows& rows : batch) {
    for (std::uint32_t first = 0; first < rows.rows; first += tile_tokens) {
      const std::uint32_t count = std::min(tile_tokens, rows.rows - first);
      for (std::uint32_t h = 0; h < shape_.kv_heads; ++h) {
        items_.push_back({&rows, h, first, count, 0, splits_of(rows), nullptr});
      }
    }
  }
  thread_scratch_.resize(pool.size());
  for (auto& scratch : thread_scratch_) {
    scratch.ensure(Tile::floats(static_cast<std::uint32_t>(max_rows), shape_.head_dim));
  }
  if (items_.size() >= kItemsPerThread * pool.size() || pool.size() == 1) {
    pool.run(items_.size(), [this](std::size_t i, unsigned thread) { attend_item(items_[i], thread); });
    return;
  }
  const std::size_t state_floats = max_rows * (shape_.head_dim + 2);
  std::size_t parts = 0;
  for (const Item& item : items_) parts += item.last_split;
  float* memory = partials_.ensure(parts * state_floats);
  parts_.clear();
  for (Item& item : items_) {
    item.partial = memory;
    for (std::uint32_t split = 0; split < item.last_split; ++split, memory += state_floats) {
      Item part = item;
      part.first_split = split;
      part.last_split = split + 1;
      part.partial = memory;
      parts_.push_back(part);
    }
  }
  pool.run(parts_.size(), [this](std::size_t i, unsigned thread) { attend_item(parts_[i], thread); });
  pool.run(items_.size(), [&](std::size_t i, unsigned) { merge_item(items_[i], state_floats); });
}

void Attention::attend_item(const Item& item, unsigned thread) {
  const std::uint32_t group = heads_ / shape_.kv_heads, head_dim = shape_.head_dim;
  const std::uint32_t rows = item.row_count * group;
  const Tile tile(thread_scratch_[thread].data(), rows, head_dim);
  const std::int32_t* positions = item.rows->positions + item.first_row;
  const std::int32_t last_position = *std::max_element(positions, positions + item.row_count);
  for (std::uint32_t i = 0; i < item.row_count; ++i) {
    const float* q = item.rows->q + (std::size_t{item.first_row + i} * heads_ + item.kv_head * group) * head_dim;
    std::memcpy(tile.q + std::size_t{i} * group * head_dim, q, std::size_t{group} * head_dim * sizeof(float));
  }
  for (std::uint32_t split = item.first_split; split < item.last_split; ++split) {
    reset(tile.part, rows, head_dim);
    const std::size_t end = std::min(item.rows->pages.size(), std::size_t{split + 1} * kSplitPages);
    for (std::size_t p = std::size_t{split} * kSplitPages; p < end; ++p) {
      const PageView& page = item.rows->pages[p];
      if (page.min_position > last_position) continue;
      for (std::uint32_t i = 0; i < item.row_count; ++i) {
        std::fill_n(tile.masks + i * group, group, visible(page, positions[i]));
      }
      keys_.scores(shape_, page.keys, item.kv_head, tile.q, rows, tile.scores);
      kernels().softmax_block(tile.scores, tile.masks, rows, tile.part.max, tile.part.sum, tile.correction);
      values_.accumulate(shape_, page.values, item.kv_head, tile.scores, tile.correction, rows, page.count,
                         tile.part.acc);
    }
    if (split == item.first_split) {
      std::copy_n(tile.part.max, rows, tile.total.max);
      std::copy_n(tile.part.sum, rows, tile.total.sum);
      std::copy_n(tile.part.acc, std::size_t{rows} * head_dim, tile.total.acc);
    } else {
      kernels().merge(tile.total, tile.part, rows, head_dim);
    }
  }
  if (item.partial == nullptr) return finish(item, tile.total);
  const SoftmaxState kept = state_at(item.partial, rows);
  std::copy_n(tile.total.max, rows, kept.max);
  std::copy_n(tile.total.sum, rows, kept.sum);
  std::copy_n(tile.total.acc, std::size_t{rows} * head_dim, kept.acc);
}

void Attention::merge_item(const Item& item, std::size_t state_floats) const {
  const std::uint32_t rows = item.row_count * (heads_ / shape_.kv_heads);
  const SoftmaxState total = state_at(item.partial, rows);
  for (std::uint32_t split = 1; split < item.last_split; ++split) {
    kernels().merge(total, state_at(item.partial + split * state_floats, rows), rows, shape_.head_dim);
  }
  finish(item, total);
}

void Attention::finish(const Item& item, const SoftmaxState& state) const {
  const std::uint32_t group = heads_ / shape_.kv_heads, head_dim = shape_.head_dim;
  for (std::uint32_t r = 0; r < item.row_count * group; ++r) {
    const std::size_t token = item.first_row + r / group, head = item.kv_head * group + r % group;
    float* out = item.rows->out + (token * heads_ + head) * head_dim;
    const float* acc = state.acc + std::size_t{r} * head_dim;
    for (std::uint32_t d = 0; d < head_dim; ++d) out[d] = acc[d] / state.sum[r];
  }
}

}  // namespace cairn

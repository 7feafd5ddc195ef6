// SPDX-License-Identifier: Apache-2.0
#include "cairn/attention/attend.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "cairn/base/check.h"
#include "cairn/codec/basis.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace {

// Rows (tokens times query heads) that share one pass over a page: their scores stay in the second-level cache.
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

void copy_state(const SoftmaxState& from, const SoftmaxState& to, std::uint32_t rows, std::uint32_t head_dim) {
  std::copy_n(from.max, rows, to.max);
  std::copy_n(from.sum, rows, to.sum);
  std::copy_n(from.acc, std::size_t{rows} * head_dim, to.acc);
}

Upcoming head_part(const PageFormat& format, const std::byte* page, std::uint32_t kv_head) {
  return format.codec->head_part(format, page, kv_head);
}

// A split's result as it is kept between the two passes: [rows] max, [rows] sum, [rows, head_dim] acc.
SoftmaxState state_at(float* memory, std::uint32_t rows) {
  return {memory, memory + rows, memory + 2 * rows};
}

}  // namespace

// Some tokens of one sequence under some KV heads, over the splits [first_split, last_split).
struct Attention::Item {
  const AttendRows* rows;
  std::uint32_t first_head;
  std::uint32_t head_count;
  std::uint32_t first_row;
  std::uint32_t row_count;
  std::uint32_t first_split;
  std::uint32_t last_split;
  float* partial;  // where to leave the result for merging; nullptr when the item covers every split
};

Attention::Attention(PageShape shape, std::uint32_t heads) : shape_(shape), heads_(heads) {
  CAIRN_CHECK(shape.kv_heads > 0 && heads % shape.kv_heads == 0);
}

Attention::~Attention() = default;

void Attention::attend(std::span<const AttendRows> batch, LayerBasis basis, ThreadPool& pool) {
  basis_ = basis;
  plan(batch, pool.size());
  thread_scratch_.resize(pool.size());
  for (auto& scratch : thread_scratch_) scratch.ensure(Tile::floats(max_rows_, shape_.head_dim));
  if (parts_.empty()) {
    pool.run(items_.size(), [this](std::size_t i, unsigned thread) { attend_item(items_[i], thread); });
    return;
  }
  pool.run(parts_.size(), [this](std::size_t i, unsigned thread) { attend_item(parts_[i], thread); });
  pool.run(items_.size(), [this](std::size_t i, unsigned) { merge_item(items_[i]); });
}

// Cuts the work into items. Few rows take all heads of a page at once, since a page is one stretch of memory; where
// that leaves threads idle, the keys are divided at the splits, or the heads if there are too few splits.
void Attention::plan(std::span<const AttendRows> batch, unsigned threads) {
  const std::uint32_t group = heads_ / shape_.kv_heads;
  const std::uint32_t tile_tokens = std::max(1u, kTileQueryRows / group);
  items_.clear();
  parts_.clear();
  max_rows_ = 0;
  std::size_t units = 0;  // items if every split were one
  for (const AttendRows& rows : batch) {
    const auto splits = static_cast<std::uint32_t>((rows.page_count() + kSplitPages - 1) / kSplitPages);
    for (std::uint32_t first = 0; first < rows.rows; first += tile_tokens) {
      const std::uint32_t count = std::min(tile_tokens, rows.rows - first);
      const std::uint32_t fair =
          splits * batch.size() >= 2 * threads ? shape_.kv_heads : (shape_.kv_heads + threads - 1) / threads;
      const std::uint32_t heads = std::clamp(kTileQueryRows / (count * group), 1u, fair);
      max_rows_ = std::max(max_rows_, count * group * heads);
      for (std::uint32_t h = 0; h < shape_.kv_heads; h += heads) {
        items_.push_back({&rows, h, std::min(heads, shape_.kv_heads - h), first, count, 0, splits, nullptr});
        units += splits;
      }
    }
  }
  if (threads == 1 || items_.size() >= kItemsPerThread * threads || units == items_.size()) return;
  const std::size_t state_floats = std::size_t{max_rows_} * (shape_.head_dim + 2);
  float* memory = partials_.ensure(units * state_floats);
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
}

void Attention::attend_item(const Item& item, unsigned thread) {
  const std::uint32_t group = heads_ / shape_.kv_heads, head_dim = shape_.head_dim;
  const std::uint32_t head_rows = item.row_count * group, rows = head_rows * item.head_count;
  const Tile tile(thread_scratch_[thread].data(), rows, head_dim);
  const std::int32_t* positions = item.rows->positions + item.first_row;
  const std::int32_t last_position = *std::max_element(positions, positions + item.row_count);
  for (std::uint32_t r = 0; r < rows; r += group) {
    const std::size_t token = item.first_row + r % head_rows / group, head = item.first_head + r / head_rows;
    const float* q = item.rows->q + (token * heads_ + head * group) * head_dim;
    std::memcpy(tile.q + std::size_t{r} * head_dim, q, std::size_t{group} * head_dim * sizeof(float));
  }
  if (basis_.rotated_keys) turn_heads({tile.q, std::size_t{rows} * head_dim}, head_dim);
  for (std::uint32_t split = item.first_split; split < item.last_split; ++split) {
    reset(tile.part, rows, head_dim);
    const std::size_t end = std::min(item.rows->page_count(), std::size_t{split + 1} * kSplitPages);
    for (std::size_t p = std::size_t{split} * kSplitPages; p < end; ++p) {
      const PageView& page = item.rows->page(p);
      const PageFormat& keys = *page.key_format;
      const PageFormat& values = *page.value_format;
      if (page.min_position > last_position) continue;
      for (std::uint32_t r = 0; r < rows; r += group) {
        std::fill_n(tile.masks + r, group, visible_slots(page, positions[r % head_rows / group]));
      }
      const PageView* next_page = p + 1 < end ? &item.rows->page(p + 1) : nullptr;
      for (std::uint32_t h = 0; h < item.head_count; ++h) {
        const std::uint32_t head = item.first_head + h;
        const Upcoming next = h + 1 < item.head_count ? head_part(keys, page.keys, head + 1)
                                                      : head_part(values, page.values, item.first_head);
        keys.codec->scores(keys, page.keys, head, tile.q + std::size_t{h} * head_rows * head_dim, head_rows, next,
                           tile.scores + std::size_t{h} * head_rows * kBlockTokens);
      }
      kernels().softmax_block(tile.scores, tile.masks, rows, tile.part.max, tile.part.sum, tile.correction);
      for (std::uint32_t h = 0; h < item.head_count; ++h) {
        const std::uint32_t head = item.first_head + h;
        const std::size_t first = std::size_t{h} * head_rows;
        Upcoming next;
        if (h + 1 < item.head_count) {
          next = head_part(values, page.values, head + 1);
        } else if (next_page != nullptr) {
          next = head_part(*next_page->key_format, next_page->keys, item.first_head);
        }
        values.codec->accumulate(values, page.values, head, tile.scores + first * kBlockTokens, tile.correction + first,
                                 head_rows, page.count, next, tile.part.acc + first * head_dim);
      }
    }
    if (split == item.first_split) {
      copy_state(tile.part, tile.total, rows, head_dim);
    } else {
      kernels().merge(tile.total, tile.part, rows, head_dim);
    }
  }
  if (item.partial == nullptr) return finish(item, tile.total);
  copy_state(tile.total, state_at(item.partial, rows), rows, head_dim);
}

void Attention::merge_item(const Item& item) const {
  const std::uint32_t rows = item.row_count * (heads_ / shape_.kv_heads) * item.head_count;
  const std::size_t state_floats = std::size_t{max_rows_} * (shape_.head_dim + 2);
  const SoftmaxState total = state_at(item.partial, rows);
  for (std::uint32_t split = 1; split < item.last_split; ++split) {
    kernels().merge(total, state_at(item.partial + split * state_floats, rows), rows, shape_.head_dim);
  }
  finish(item, total);
}

void Attention::finish(const Item& item, const SoftmaxState& state) const {
  const std::uint32_t group = heads_ / shape_.kv_heads, head_dim = shape_.head_dim;
  const std::uint32_t head_rows = item.row_count * group;
  for (std::uint32_t r = 0; r < head_rows * item.head_count; ++r) {
    const std::size_t token = item.first_row + r % head_rows / group;
    const std::size_t head = (item.first_head + r / head_rows) * group + r % group;
    float* out = item.rows->out + (token * heads_ + head) * head_dim;
    const float* acc = state.acc + std::size_t{r} * head_dim;
    for (std::uint32_t d = 0; d < head_dim; ++d) out[d] = acc[d] / state.sum[r];
    if (basis_.rotated_values) turn_heads({out, head_dim}, head_dim);
    if (item.rows->softmax == nullptr) continue;
    float* softmax = item.rows->softmax + (token * heads_ + head) * 2;
    softmax[0] = state.max[r];
    softmax[1] = state.sum[r];
  }
}

}  // namespace cairn

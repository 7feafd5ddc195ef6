// SPDX-License-Identifier: Apache-2.0
#include "cairn/attention/attend.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "cairn/attention/page_sharing.h"
#include "cairn/base/check.h"
#include "cairn/codec/codec.h"
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

PrefetchHint head_part(const PageFormat& format, const std::byte* page, std::uint32_t kv_head) {
  return format.codec->head_part(format, page, kv_head);
}

// A split's result as it is kept between the two passes: [rows] max, [rows] sum, [rows, head_dim] acc.
SoftmaxState state_at(float* memory, std::uint32_t rows) {
  return {memory, memory + rows, memory + 2 * rows};
}

std::size_t state_floats(std::uint32_t rows, std::uint32_t head_dim) {
  return std::size_t{rows} * (head_dim + 2);
}

SoftmaxState advanced(const SoftmaxState& state, std::size_t rows, std::uint32_t head_dim) {
  return {state.max + rows, state.sum + rows, state.acc + rows * head_dim};
}

std::uint32_t splits_of(const AttendRows& rows) {
  return static_cast<std::uint32_t>((rows.page_count() + kSplitPages - 1) / kSplitPages);
}

}  // namespace

// Some tokens of one sequence, and where what they got of a split is left for merging.
struct Attention::Source {
  const AttendRows* rows;
  std::uint32_t first_row;
  std::uint32_t row_count;
  std::uint32_t state_rows;  // that are left there: those of all heads of the item that merges
  float* partial = nullptr;  // nullptr when the item covers every split
};

// Some tokens under some KV heads, over the splits [first_split, last_split). Several sources have the same pages
// there.
struct Attention::Item {
  std::uint32_t first_source;
  std::uint32_t source_count;
  std::uint32_t first_head;
  std::uint32_t head_count;
  std::uint32_t first_split;
  std::uint32_t last_split;
  std::uint32_t merged_head;  // the first head of the item that merges it
};

Attention::Attention() = default;
Attention::~Attention() = default;

void Attention::attend(std::span<const AttendRows> batch, const AttendLayer& layer, ThreadPool& pool) {
  CAIRN_CHECK(layer.shape.kv_heads > 0 && layer.heads % layer.shape.kv_heads == 0);
  layer_ = layer;
  plan(batch, pool.size());
  thread_scratch_.resize(pool.size());
  for (auto& scratch : thread_scratch_) scratch.ensure(Tile::floats(max_rows_, layer_.shape.head_dim));
  if (parts_.empty()) {
    pool.run(items_.size(), [this](std::size_t i, unsigned thread) { attend_item(items_[i], thread); });
    return;
  }
  pool.run(parts_.size(), [this](std::size_t i, unsigned thread) { attend_item(parts_[i], thread); });
  pool.run(items_.size(), [this](std::size_t i, unsigned) { merge_item(items_[i]); });
}

void Attention::add_item(const AttendRows& rows, std::uint32_t first_row, std::uint32_t row_count,
                         std::uint32_t first_head, std::uint32_t head_count) {
  const std::uint32_t state_rows = row_count * head_count * (layer_.heads / layer_.shape.kv_heads);
  max_rows_ = std::max(max_rows_, state_rows);
  items_.push_back(
      {static_cast<std::uint32_t>(sources_.size()), 1, first_head, head_count, 0, splits_of(rows), first_head});
  sources_.push_back({&rows, first_row, row_count, state_rows});
}

// Cuts the work into items. Few rows take all heads of a page at once, since a page is one stretch of memory; where
// that leaves threads idle, the keys are divided at the splits, or the heads if there are too few splits.
void Attention::plan(std::span<const AttendRows> batch, unsigned threads) {
  const std::uint32_t group = layer_.heads / layer_.shape.kv_heads;
  const std::uint32_t tile_tokens = std::max(1u, kTileQueryRows / group);
  items_.clear();
  parts_.clear();
  sources_.clear();
  max_rows_ = 0;
  const std::vector<SharedSplit> shared = shared_splits(batch, layer_.window, tile_tokens);
  std::vector<bool> shares(batch.size(), false);
  for (const SharedSplit& split : shared) {
    for (const std::uint32_t i : split.members) shares[i] = true;
  }
  std::vector<std::uint32_t> item_of(batch.size(), 0);
  std::size_t units = 0;  // items if every split were one
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const AttendRows& rows = batch[i];
    const std::uint32_t splits = splits_of(rows);
    if (shares[i]) {
      item_of[i] = static_cast<std::uint32_t>(items_.size());
      add_item(rows, 0, rows.rows, 0, layer_.shape.kv_heads);
      units += splits;
      continue;
    }
    for (std::uint32_t first = 0; first < rows.rows; first += tile_tokens) {
      const std::uint32_t count = std::min(tile_tokens, rows.rows - first);
      const std::uint32_t fair = splits * batch.size() >= 2 * threads ? layer_.shape.kv_heads
                                                                      : (layer_.shape.kv_heads + threads - 1) / threads;
      const std::uint32_t heads = std::clamp(kTileQueryRows / (count * group), 1u, fair);
      for (std::uint32_t h = 0; h < layer_.shape.kv_heads; h += heads) {
        add_item(rows, first, count, h, std::min(heads, layer_.shape.kv_heads - h));
        units += splits;
      }
    }
  }
  const bool idle = threads > 1 && items_.size() < kItemsPerThread * threads && units != items_.size();
  if (idle || !shared.empty()) divide(shared, item_of, idle);
}

// Into parts of one split each: all items, or only those that share. The others stay whole among the parts.
void Attention::divide(std::span<const SharedSplit> shared, std::span<const std::uint32_t> item_of, bool all) {
  std::vector<std::vector<bool>> covered(items_.size());  // splits that are computed together with others
  for (const SharedSplit& split : shared) {
    for (const std::uint32_t i : split.members) {
      std::vector<bool>& of_item = covered[item_of[i]];
      of_item.resize(items_[item_of[i]].last_split, false);
      of_item[split.split] = true;
    }
  }
  std::size_t floats = 0;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (!all && covered[i].empty()) continue;
    floats += items_[i].last_split * state_floats(sources_[items_[i].first_source].state_rows, layer_.shape.head_dim);
  }
  float* memory = partials_.ensure(floats);
  for (std::size_t i = 0; i < items_.size(); ++i) {
    Item part = items_[i];
    if (!all && covered[i].empty()) {
      parts_.push_back(part);
      continue;
    }
    Source source = sources_[part.first_source];
    sources_[part.first_source].partial = source.partial = memory;
    for (std::uint32_t split = 0; split < items_[i].last_split; ++split) {
      source.partial = memory;
      memory += state_floats(source.state_rows, layer_.shape.head_dim);
      if (!covered[i].empty() && covered[i][split]) continue;
      part.first_split = split;
      part.last_split = split + 1;
      part.first_source = static_cast<std::uint32_t>(sources_.size());
      sources_.push_back(source);
      parts_.push_back(part);
    }
  }
  for (const SharedSplit& split : shared) {
    std::vector<std::uint32_t> items;
    for (const std::uint32_t i : split.members) items.push_back(item_of[i]);
    add_shared_parts(split.split, items);
  }
}

// As many heads at a time as one tile has room for.
void Attention::add_shared_parts(std::uint32_t split, std::span<const std::uint32_t> items) {
  const std::uint32_t group = layer_.heads / layer_.shape.kv_heads;
  std::uint32_t tokens = 0;
  for (const std::uint32_t i : items) tokens += sources_[items_[i].first_source].row_count;
  const std::uint32_t heads = std::clamp(kTileQueryRows / (tokens * group), 1u, layer_.shape.kv_heads);
  max_rows_ = std::max(max_rows_, tokens * group * heads);
  for (std::uint32_t h = 0; h < layer_.shape.kv_heads; h += heads) {
    parts_.push_back({static_cast<std::uint32_t>(sources_.size()), static_cast<std::uint32_t>(items.size()), h,
                      std::min(heads, layer_.shape.kv_heads - h), split, split + 1, 0});
    for (const std::uint32_t i : items) {
      Source source = sources_[items_[i].first_source];
      source.partial += split * state_floats(source.state_rows, layer_.shape.head_dim);
      sources_.push_back(source);
    }
  }
}

void Attention::attend_item(const Item& item, unsigned thread) {
  const std::uint32_t group = layer_.heads / layer_.shape.kv_heads, head_dim = layer_.shape.head_dim;
  const auto sources = std::span<const Source>(sources_).subspan(item.first_source, item.source_count);
  const AttendRows& pages = *sources.front().rows;
  std::uint32_t tokens = 0;
  for (const Source& source : sources) tokens += source.row_count;
  const std::uint32_t head_rows = tokens * group, rows = head_rows * item.head_count;
  const Tile tile(thread_scratch_[thread].data(), rows, head_dim);
  std::array<std::int32_t, kTileQueryRows> positions{};
  CAIRN_DCHECK(tokens <= kTileQueryRows);
  for (std::uint32_t t = 0, s = 0, first = 0; t < tokens; ++t) {
    if (t - first == sources[s].row_count) first += sources[s++].row_count;
    const Source& source = sources[s];
    const std::size_t row = source.first_row + t - first;
    positions[t] = source.rows->positions[row];
    for (std::uint32_t h = 0; h < item.head_count; ++h) {
      const float* q = source.rows->q + (row * layer_.heads + (item.first_head + h) * group) * head_dim;
      std::memcpy(tile.q + (std::size_t{h} * head_rows + t * group) * head_dim, q,
                  std::size_t{group} * head_dim * sizeof(float));
    }
  }
  const auto [first_position, last_position] = std::minmax_element(positions.begin(), positions.begin() + tokens);
  const std::int32_t oldest = oldest_visible(*first_position, layer_.window), newest = *last_position;
  if (layer_.basis.hadamard_keys) hadamard_heads({tile.q, std::size_t{rows} * head_dim}, head_dim);
  for (std::uint32_t split = item.first_split; split < item.last_split; ++split) {
    reset(tile.part, rows, head_dim);
    const std::size_t end = std::min(pages.page_count(), std::size_t{split + 1} * kSplitPages);
    for (std::size_t p = std::size_t{split} * kSplitPages; p < end; ++p) {
      const PageView& page = pages.page(p);
      const PageFormat& keys = *page.key_format;
      const PageFormat& values = *page.value_format;
      if (page.min_position > newest || page.max_position < oldest) continue;
      for (std::uint32_t r = 0; r < rows; r += group) {
        std::fill_n(tile.masks + r, group, visible_slots(page, positions[r % head_rows / group], layer_.window));
      }
      const PageView* next_page = p + 1 < end ? &pages.page(p + 1) : nullptr;
      for (std::uint32_t h = 0; h < item.head_count; ++h) {
        const std::uint32_t head = item.first_head + h;
        const PrefetchHint next = h + 1 < item.head_count ? head_part(keys, page.keys, head + 1)
                                                          : head_part(values, page.values, item.first_head);
        keys.codec->scores(keys, page.keys, head, tile.q + std::size_t{h} * head_rows * head_dim, head_rows, next,
                           tile.scores + std::size_t{h} * head_rows * kBlockTokens);
      }
      kernels().softmax_block(tile.scores, tile.masks, rows, tile.part.max, tile.part.sum, tile.correction);
      for (std::uint32_t h = 0; h < item.head_count; ++h) {
        const std::uint32_t head = item.first_head + h;
        const std::size_t first = std::size_t{h} * head_rows;
        PrefetchHint next;
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
  if (sources.front().partial == nullptr) return finish(sources.front(), item, tile.total);
  leave(item, tile.total);
}

// What each source got of the split goes to where its item merges it.
void Attention::leave(const Item& item, const SoftmaxState& state) const {
  const std::uint32_t group = layer_.heads / layer_.shape.kv_heads, head_dim = layer_.shape.head_dim;
  const auto sources = std::span<const Source>(sources_).subspan(item.first_source, item.source_count);
  std::uint32_t head_rows = 0;
  for (const Source& source : sources) head_rows += source.row_count * group;
  std::uint32_t first = 0;
  for (const Source& source : sources) {
    const std::uint32_t rows = source.row_count * group;
    for (std::uint32_t h = 0; h < item.head_count; ++h) {
      const std::size_t at = std::size_t{item.first_head + h - item.merged_head} * rows;
      copy_state(advanced(state, std::size_t{h} * head_rows + first, head_dim),
                 advanced(state_at(source.partial, source.state_rows), at, head_dim), rows, head_dim);
    }
    first += rows;
  }
}

void Attention::merge_item(const Item& item) const {
  const Source& source = sources_[item.first_source];
  if (source.partial == nullptr) return;  // computed whole
  const std::uint32_t rows = source.state_rows;
  const SoftmaxState total = state_at(source.partial, rows);
  for (std::uint32_t split = 1; split < item.last_split; ++split) {
    const std::size_t at = split * state_floats(rows, layer_.shape.head_dim);
    kernels().merge(total, state_at(source.partial + at, rows), rows, layer_.shape.head_dim);
  }
  finish(source, item, total);
}

void Attention::finish(const Source& source, const Item& item, const SoftmaxState& state) const {
  const std::uint32_t group = layer_.heads / layer_.shape.kv_heads, head_dim = layer_.shape.head_dim;
  const std::uint32_t head_rows = source.row_count * group;
  for (std::uint32_t r = 0; r < head_rows * item.head_count; ++r) {
    const std::size_t token = source.first_row + r % head_rows / group;
    const std::size_t head = (item.first_head + r / head_rows) * group + r % group;
    float* out = source.rows->out + (token * layer_.heads + head) * head_dim;
    const float* acc = state.acc + std::size_t{r} * head_dim;
    for (std::uint32_t d = 0; d < head_dim; ++d) out[d] = acc[d] / state.sum[r];
    if (layer_.basis.hadamard_values) hadamard_heads({out, head_dim}, head_dim);
    if (source.rows->softmax == nullptr) continue;
    float* softmax = source.rows->softmax + (token * layer_.heads + head) * 2;
    softmax[0] = state.max[r];
    softmax[1] = state.sum[r];
  }
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/attention/attend.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "cairn/attention/attend_plan.h"
#include "cairn/base/check.h"
#include "cairn/codec/codec.h"
#include "cairn/kernels/kernels.h"

namespace cairn {

using attention::kTileQueryRows;
using attention::state_floats;
using attention::WorkItem;
using attention::WorkSource;

namespace attention {

// The working memory of one item, carved from one allocation.
struct Tile {
  float* q;
  float* scores;
  float* correction;
  std::uint64_t* masks;
  SoftmaxState part;   // of the current split
  SoftmaxState total;  // of the splits before it

  static std::size_t floats(std::uint32_t rows, PageShape shape) {
    return std::size_t{rows} * (shape.head_dim + 2 * shape.value_dim() + kBlockTokens + 7) + 16 * 10;
  }

  Tile(float* memory, std::uint32_t rows, PageShape shape) {
    const auto take = [&memory](std::size_t count) {
      float* taken = memory;
      memory += (count + 15) / 16 * 16;
      return taken;
    };
    const std::size_t matrix = std::size_t{rows} * shape.value_dim();
    q = take(std::size_t{rows} * shape.head_dim);
    scores = take(std::size_t{rows} * kBlockTokens);
    correction = take(rows);
    masks = reinterpret_cast<std::uint64_t*>(take(std::size_t{rows} * 2));
    part = {take(rows), take(rows), take(matrix)};
    total = {take(rows), take(rows), take(matrix)};
  }
};

// Some neighbouring KV heads of a page, for the rows of an item.
struct PageHeads {
  const PageView* page;
  std::uint32_t kv_head;    // the first
  std::uint32_t count;      // how many
  std::uint32_t first_row;  // of the tile, where the first one's rows begin
  std::uint32_t head_rows;  // of each
  PrefetchHint next_keys;   // what is read afterwards
  PrefetchHint next_values;
  bool selected;  // whether the rows read some boxes only
};

}  // namespace attention

using attention::PageHeads;
using attention::Tile;

namespace {

void reset(const SoftmaxState& state, std::uint32_t rows, std::uint32_t value_dim) {
  std::fill_n(state.max, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(state.sum, rows, 0.0f);
  std::fill_n(state.acc, std::size_t{rows} * value_dim, 0.0f);
}

void copy_state(const SoftmaxState& from, const SoftmaxState& to, std::uint32_t rows, std::uint32_t value_dim) {
  std::copy_n(from.max, rows, to.max);
  std::copy_n(from.sum, rows, to.sum);
  std::copy_n(from.acc, std::size_t{rows} * value_dim, to.acc);
}

PrefetchHint head_part(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, std::uint8_t boxes) {
  return format.codec->head_part(format, page, kv_head, boxes);
}

// A split's result as it is kept between the two passes: [rows] max, [rows] sum, [rows, value_dim] acc.
SoftmaxState state_at(float* memory, std::uint32_t rows) {
  return {memory, memory + rows, memory + 2 * rows};
}

SoftmaxState advanced(const SoftmaxState& state, std::size_t rows, std::uint32_t value_dim) {
  return {state.max + rows, state.sum + rows, state.acc + rows * value_dim};
}

// Neighbouring heads of an item, [first, end) of them, that read one page.
struct Stretch {
  std::size_t page;
  std::uint32_t first;
  std::uint32_t end;
};

// The next one at or after head `from.first` of page `from.page`; on page `end` when there is none.
Stretch next_stretch(const AttendRows& rows, const WorkItem& item, Stretch from, std::size_t end,
                     std::uint32_t kv_heads) {
  for (; from.page < end; ++from.page, from.first = 0) {
    const auto reads = [&](std::uint32_t head) {
      return rows.boxes_of(from.page, item.first_head + head, kv_heads) != 0;
    };
    while (from.first < item.head_count && !reads(from.first)) ++from.first;
    if (from.first == item.head_count) continue;
    from.end = from.first + 1;
    while (from.end < item.head_count && reads(from.end)) ++from.end;
    return from;
  }
  return {end, 0, 0};
}

}  // namespace

Attention::Attention() : plan_(std::make_unique<attention::WorkPlan>()) {}
Attention::~Attention() = default;

void Attention::attend(std::span<const AttendRows> batch, const AttendLayer& layer, ThreadPool& pool) {
  CAIRN_CHECK(layer.shape.kv_heads > 0 && layer.heads % layer.shape.kv_heads == 0);
  CAIRN_CHECK(layer.sinks.empty() || layer.sinks.size() == layer.heads);
  layer_ = layer;
  plan_->make(batch, layer, pool.size());
  if (!layer.sinks.empty()) std::fill_n(no_value_.ensure(layer.shape.value_dim()), layer.shape.value_dim(), 0.0f);
  thread_scratch_.resize(pool.size());
  for (auto& scratch : thread_scratch_) scratch.ensure(Tile::floats(plan_->max_rows(), layer_.shape));
  const auto items = plan_->items(), parts = plan_->parts();
  if (parts.empty()) {
    pool.run(items.size(), [&](std::size_t i, unsigned thread) { attend_item(items[i], thread); });
    return;
  }
  pool.run(parts.size(), [&](std::size_t i, unsigned thread) { attend_item(parts[i], thread); });
  pool.run(items.size(), [&](std::size_t i, unsigned) { merge_item(items[i]); });
}

void Attention::attend_item(const WorkItem& item, unsigned thread) {
  const std::uint32_t kv_heads = layer_.shape.kv_heads, group = layer_.heads / kv_heads;
  const std::uint32_t head_dim = layer_.shape.head_dim, value_dim = layer_.shape.value_dim();
  const auto sources = plan_->sources(item);
  const AttendRows& pages = *sources.front().rows;
  std::uint32_t tokens = 0;
  for (const WorkSource& source : sources) tokens += source.row_count;
  const std::uint32_t head_rows = tokens * group, rows = head_rows * item.head_count;
  const Tile tile(thread_scratch_[thread].data(), rows, layer_.shape);
  std::array<std::int32_t, kTileQueryRows> positions{};
  CAIRN_DCHECK(tokens <= kTileQueryRows);
  for (std::uint32_t t = 0, s = 0, first = 0; t < tokens; ++t) {
    if (t - first == sources[s].row_count) first += sources[s++].row_count;
    const WorkSource& source = sources[s];
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
  for (std::uint32_t h = 0; h < item.head_count; ++h) {
    layer_.basis.keys.turn_queries(item.first_head + h,
                                   {tile.q + std::size_t{h} * head_rows * head_dim, std::size_t{head_rows} * head_dim});
  }
  for (std::uint32_t split = item.first_split; split < item.last_split; ++split) {
    reset(tile.part, rows, value_dim);
    const std::size_t end = std::min(pages.end_page(), std::size_t{split + 1} * kSplitPages);
    for (std::size_t p = std::max(pages.skipped, std::size_t{split} * kSplitPages); p < end; ++p) {
      const PageView& page = pages.page(p);
      if (page.min_position > newest || page.max_position < oldest) continue;
      for (std::uint32_t r = 0; r < rows; r += group) {
        const std::uint32_t head = item.first_head + r / head_rows;
        const std::uint64_t visible = visible_slots(page, positions[r % head_rows / group], layer_.window, head);
        std::fill_n(tile.masks + r, group, visible & slots_of_boxes(pages.boxes_of(p, head, kv_heads)));
      }
      // As many heads at a time as read the page side by side.
      for (Stretch now = next_stretch(pages, item, {p, 0, 0}, end, kv_heads); now.page == p;) {
        const Stretch then = next_stretch(pages, item, {p, now.end, 0}, end, kv_heads);
        PrefetchHint next_keys, next_values;
        if (then.page < end) {
          const PageView& read = pages.page(then.page);
          const std::uint32_t head = item.first_head + then.first;
          const std::uint8_t boxes = pages.boxes_of(then.page, head, kv_heads);
          next_keys = head_part(*read.key_format, read.keys, head, boxes);
          next_values = head_part(*read.value_format, read.values, head, boxes);
        }
        attend_heads({&page, item.first_head + now.first, now.end - now.first, now.first * head_rows, head_rows,
                      next_keys, next_values, pages.reads != nullptr},
                     tile);
        now = then;
      }
    }
    if (split == item.first_split) {
      copy_state(tile.part, tile.total, rows, value_dim);
    } else {
      kernels().merge(tile.total, tile.part, rows, value_dim);
    }
  }
  if (sources.front().partial == nullptr) return finish(sources.front(), item, tile.total);
  leave(item, tile.total);
}

// Scores, an online softmax step, then the weighted values.
void Attention::attend_heads(const PageHeads& what, const Tile& tile) const {
  const PageView& page = *what.page;
  const PageFormat &keys = *page.key_format, &values = *page.value_format;
  const std::uint32_t head_rows = what.head_rows, rows = head_rows * what.count;
  float* scores = tile.scores + std::size_t{what.first_row} * kBlockTokens;
  float* correction = tile.correction + what.first_row;
  // Of each head, what some row sees: the rest of the page is not read.
  const auto boxes_of = [&](std::uint32_t h) {
    std::uint64_t slots = 0;
    for (std::uint32_t r = 0; r < head_rows; ++r) slots |= tile.masks[what.first_row + h * head_rows + r];
    return boxes_of_slots(slots);
  };
  // Of boxes that are not read there is no score: capping all of them must not find what was never written.
  if (layer_.score_cap != 0.0f) std::fill_n(scores, std::size_t{rows} * kBlockTokens, 0.0f);
  // Of a whole page the values come while its keys are read, and so on. A few boxes are read faster than memory
  // answers: there all is asked for one page ahead.
  const bool is_short = what.selected && what.count == 1 && boxes_of(0) != kAllBoxes;
  for (std::uint32_t h = 0; h < what.count; ++h) {
    const std::size_t first = std::size_t{h} * head_rows;
    const PrefetchHint next = is_short             ? what.next_keys
                              : h + 1 < what.count ? head_part(keys, page.keys, what.kv_head + h + 1, boxes_of(h + 1))
                                                   : head_part(values, page.values, what.kv_head, boxes_of(0));
    keys.codec->scores(keys, page.keys, what.kv_head + h, tile.q + (what.first_row + first) * layer_.shape.head_dim,
                       head_rows, boxes_of(h), next, scores + first * kBlockTokens);
  }
  if (layer_.score_cap != 0.0f) kernels().soft_cap(scores, std::size_t{rows} * kBlockTokens, layer_.score_cap);
  kernels().softmax_block(scores, tile.masks + what.first_row, rows, tile.part.max + what.first_row,
                          tile.part.sum + what.first_row, correction);
  for (std::uint32_t h = 0; h < what.count; ++h) {
    const std::size_t first = std::size_t{h} * head_rows;
    const PrefetchHint next = h + 1 < what.count ? head_part(values, page.values, what.kv_head + h + 1, boxes_of(h + 1))
                              : is_short         ? what.next_values
                                                 : what.next_keys;
    values.codec->accumulate(values, page.values, what.kv_head + h, scores + first * kBlockTokens, correction + first,
                             head_rows, page.count, boxes_of(h), next,
                             tile.part.acc + (what.first_row + first) * layer_.shape.value_dim());
  }
}

// What each source got of the split goes to where its item merges it.
void Attention::leave(const WorkItem& item, const SoftmaxState& state) const {
  const std::uint32_t group = layer_.heads / layer_.shape.kv_heads, value_dim = layer_.shape.value_dim();
  const auto sources = plan_->sources(item);
  std::uint32_t head_rows = 0;
  for (const WorkSource& source : sources) head_rows += source.row_count * group;
  std::uint32_t first = 0;
  for (const WorkSource& source : sources) {
    const std::uint32_t rows = source.row_count * group;
    for (std::uint32_t h = 0; h < item.head_count; ++h) {
      const std::size_t at = std::size_t{item.first_head + h - item.merged_head} * rows;
      copy_state(advanced(state, std::size_t{h} * head_rows + first, value_dim),
                 advanced(state_at(source.partial, source.state_rows), at, value_dim), rows, value_dim);
    }
    first += rows;
  }
}

void Attention::merge_item(const WorkItem& item) const {
  const WorkSource& source = plan_->sources(item).front();
  if (source.partial == nullptr) return;  // computed whole
  const std::uint32_t rows = source.state_rows;
  const SoftmaxState total = state_at(source.partial, rows);
  for (std::uint32_t split = item.first_split + 1; split < item.last_split; ++split) {
    const std::size_t at = (split - item.first_split) * state_floats(rows, layer_.shape.value_dim());
    kernels().merge(total, state_at(source.partial + at, rows), rows, layer_.shape.value_dim());
  }
  finish(source, item, total);
}

// Requires, as for a sink: the row has merged all of its pages. So it does not matter how they were divided.
void Attention::join_rest(const float* rest, const SoftmaxState& row) const {
  const float sum = *row.sum;
  for (std::uint32_t d = 0; d < layer_.shape.value_dim(); ++d) row.acc[d] += sum * rest[1 + d];
  *row.sum += sum * rest[0];
}

void Attention::join_sink(std::size_t head, const SoftmaxState& row) const {
  float score = layer_.sinks[head], weight = 1.0f;
  kernels().merge(row, {&score, &weight, no_value_.data()}, 1, layer_.shape.value_dim());
}

void Attention::finish(const WorkSource& source, const WorkItem& item, const SoftmaxState& state) const {
  const std::uint32_t group = layer_.heads / layer_.shape.kv_heads, value_dim = layer_.shape.value_dim();
  const std::uint32_t head_rows = source.row_count * group;
  for (std::uint32_t r = 0; r < head_rows * item.head_count; ++r) {
    const std::size_t token = source.first_row + r % head_rows / group;
    const std::size_t head = (item.first_head + r / head_rows) * group + r % group;
    float* out = source.rows->out + (token * layer_.heads + head) * value_dim;
    if (const float* rest = source.rows->rest; rest != nullptr) {
      join_rest(rest + (token * layer_.heads + head) * (1 + value_dim), advanced(state, r, value_dim));
    }
    if (!layer_.sinks.empty()) join_sink(head, advanced(state, r, value_dim));
    const float* acc = state.acc + std::size_t{r} * value_dim;
    for (std::uint32_t d = 0; d < value_dim; ++d) out[d] = acc[d] / state.sum[r];
    // Merging a split that a row does not see turns -0 into 0, and other rows decide whether it is there.
    if (layer_.window != 0) std::for_each_n(out, value_dim, [](float& value) { value += 0.0f; });
    layer_.basis.values.turn_outputs_back(item.first_head + r / head_rows, {out, value_dim});
    if (source.rows->softmax == nullptr) continue;
    float* softmax = source.rows->softmax + (token * layer_.heads + head) * 2;
    softmax[0] = state.max[r];
    softmax[1] = state.sum[r];
  }
}

}  // namespace cairn

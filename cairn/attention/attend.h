// SPDX-License-Identifier: Apache-2.0
// Attention of query rows over the pages of their sequence, all query heads of a KV head in one pass over each page.
//
// The arithmetic of a row: pages are visited in table order; within a page scores, then an online softmax step, then
// the weighted values, tokens in order. Every kSplitPages pages a fresh partial result begins; partial results merge in
// order, and a sink joins last. Pages are counted from the sequence's first, so those that no row sees may be there or
// not. Neither threads, nor other rows, nor the number of rows in a call enter into it, so a row computed in prefill
// has the bits of the same row computed in decode. Where sequences have the pages of a whole split in common, one pass
// over these pages serves the rows of all of them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "cairn/base/aligned_buffer.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/shape.h"
#include "cairn/codec/codec.h"
#include "cairn/kernels/args.h"

namespace cairn {

// attend_plan.h
namespace attention {
class WorkPlan;
struct PageHeads;
struct Tile;
struct WorkItem;
struct WorkSource;
}  // namespace attention

inline constexpr std::uint32_t kSplitPages = 16;

// The position of a token that no query may see any more: it is not below any query's.
inline constexpr std::int32_t kHiddenPosition = std::numeric_limits<std::int32_t>::max();

// Where values lie in the keys, both sides name the key page and its format. Non-owning; valid until the sequence it
// came from is appended to, trimmed or destroyed. Slots [0, count) hold tokens; slots beyond hold finite values that
// must not count. Positions are data: they need not be contiguous, and KV heads may hold different tokens.
struct PageView {
  const std::byte* keys = nullptr;
  const std::byte* values = nullptr;
  const PageFormat* key_format = nullptr;
  const PageFormat* value_format = nullptr;
  const std::int32_t* positions = nullptr;  // [count], or [kv_heads, kBlockTokens], see head_stride
  std::uint32_t count = 0;
  std::int32_t min_position = 0;  // over [0, count): whole pages are skipped or left unmasked by these two
  std::int32_t max_position = 0;
  std::uint32_t head_stride = 0;  // from one KV head's positions to the next one's: 0 where all hold the same tokens
};

// The least position that a query at `position` sees through a window of `window` positions; 0 is no window.
inline std::int32_t oldest_visible(std::int32_t position, std::uint32_t window) {
  constexpr std::int64_t kLeast = std::numeric_limits<std::int32_t>::min();
  return static_cast<std::int32_t>(window == 0 ? kLeast : std::max(kLeast, std::int64_t{position} - window + 1));
}

// Which slots of one KV head a query at `position` sees: bit t for token t.
inline std::uint64_t visible_slots(const PageView& page, std::int32_t position, std::uint32_t window,
                                   std::uint32_t kv_head) {
  const std::uint64_t all = page.count == 64 ? ~0ull : (1ull << page.count) - 1;
  const std::int32_t oldest = oldest_visible(position, window);
  if (page.max_position <= position && page.min_position >= oldest) return all;
  const std::int32_t* positions = page.positions + std::size_t{kv_head} * page.head_stride;
  std::uint64_t mask = 0;
  for (std::uint32_t t = 0; t < page.count; ++t) {
    mask |= std::uint64_t{positions[t] <= position && positions[t] >= oldest} << t;
  }
  return mask;
}

// The slots of boxes, a bit for each, and the boxes that have some of the slots.
inline std::uint64_t slots_of_boxes(std::uint8_t boxes) {
  std::uint64_t slots = 0;
  for (std::uint32_t b = 0; b < kBlockBoxes; ++b) {
    if ((boxes >> b & 1) != 0) slots |= ((1ull << kBoxTokens) - 1) << b * kBoxTokens;
  }
  return slots;
}
inline std::uint8_t boxes_of_slots(std::uint64_t slots) {
  std::uint32_t boxes = 0;
  for (std::uint32_t b = 0; b < kBlockBoxes; ++b) {
    boxes |= std::uint32_t{(slots >> b * kBoxTokens & ((1ull << kBoxTokens) - 1)) != 0} << b;
  }
  return static_cast<std::uint8_t>(boxes);
}

// What a query sees: first blocks as they are stored, then those that it sees as they were computed.
struct SeenPages {
  std::size_t skipped = 0;  // blocks before these that it does not see
  std::span<const PageView> closed;
  std::span<const PageView> open;
};

// Query rows of one sequence at one layer. A row sees exactly the keys whose position is not greater than its own, and
// no further back than the layer's window; each row must see at least one.
struct AttendRows {
  const float* q;                 // [rows, heads, head_dim], rotated, softmax scale folded in
  const std::int32_t* positions;  // [rows]
  std::uint32_t rows;
  std::span<const PageView> pages;       // of this layer, in table order
  std::span<const PageView> more_pages;  // after those
  float* out;                            // [rows, heads, value_dim()]
  // If not null: the greatest score and the sum of exp(score - greatest), [rows, heads, 2]. The layer's sinks are among
  // the scores, and `rest` is in the sum.
  float* softmax = nullptr;
  std::size_t skipped = 0;  // pages before these, which no row sees
  // If not null: which boxes of a page the rows under a KV head read, bit b for tokens [b, b + 1) * kBoxTokens, [pages
  // and more_pages, kv_heads]. Tokens that they do not read are not counted, and not loaded where the codec can help
  // it. At least one token that a row sees must be read under each head.
  const std::uint8_t* reads = nullptr;
  // If not null: what stands for tokens that the rows do not read, [rows, heads, 1 + value_dim()]: the sum of their
  // weights, and the sum of their values by these, in the basis of the layer's values. Both are in units of the sum of
  // the weights of the tokens that are read, and finite; sinks are not among these. All zeros change nothing but the
  // sign of zero.
  const float* rest = nullptr;

  // Pages are numbered from the sequence's first: these have the numbers [skipped, end_page()).
  std::size_t end_page() const { return skipped + pages.size() + more_pages.size(); }
  const PageView& page(std::size_t number) const {
    const std::size_t p = number - skipped;
    return p < pages.size() ? pages[p] : more_pages[p - pages.size()];
  }
  std::uint8_t boxes_of(std::size_t number, std::uint32_t kv_head, std::uint32_t kv_heads) const {
    return reads == nullptr ? kAllBoxes : reads[(number - skipped) * kv_heads + kv_head];
  }
};

// In which the K and the V of a layer lie.
struct LayerBasis {
  Basis keys;
  Basis values;
};

// What is the same for all rows and pages of a layer.
struct AttendLayer {
  PageShape shape{};
  std::uint32_t heads = 0;   // of queries: a multiple of shape.kv_heads
  std::uint32_t window = 0;  // positions that a query sees, its own the last of them; 0: all up to its own
  float score_cap = 0;       // scores become cap * tanh(score / cap) before the softmax; 0: they stay
  // Attention sinks, [heads]; empty: there are none. Each is a further score of its query head, not capped, that every
  // row sees and that has no value: it takes part of the softmax and gives nothing (gpt-oss, OpenAI 2025; after
  // "Efficient Streaming Language Models with Attention Sinks", Xiao et al. 2024). Must be valid during the call.
  std::span<const float> sinks{};
  LayerBasis basis{};
};

// Computes attention for several sequences at once. Holds scratch memory between calls, as much as the widest layer
// has taken; thread-compatible.
class Attention {
 public:
  Attention();
  ~Attention();

  void attend(std::span<const AttendRows> batch, const AttendLayer& layer, ThreadPool& pool);

 private:
  void attend_item(const attention::WorkItem& item, unsigned thread);
  void attend_heads(const attention::PageHeads& what, const attention::Tile& tile) const;
  void leave(const attention::WorkItem& item, const SoftmaxState& state) const;
  void merge_item(const attention::WorkItem& item) const;
  void join_rest(const float* rest, const SoftmaxState& row) const;
  void join_sink(std::size_t head, const SoftmaxState& row) const;
  void finish(const attention::WorkSource& source, const attention::WorkItem& item, const SoftmaxState& state) const;

  // Of the call in progress.
  AttendLayer layer_;
  std::unique_ptr<attention::WorkPlan> plan_;
  std::vector<Scratch<float>> thread_scratch_;
  Scratch<float> no_value_;  // [value_dim()] zeros, if there are sinks
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// The pages of one layer of one sequence, in token order. Every page but the last is full. A layer may have dropped
// full blocks that other layers still hold; the open tail is in all of them. A layer with a window lets go of the
// blocks behind it while the sequence grows.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/attention/signals.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/page_pool.h"
#include "cairn/block/shape.h"
#include "cairn/cache/cache_core.h"

namespace cairn::cache {

using PositionBlock = std::array<std::int32_t, kBlockTokens>;

inline constexpr std::uint32_t kEmptySlot = 0xffffffffu;  // of a packed block: no token comes there

// Layers may hold different tokens, so each has a table of its own; layers that hold the same tokens share the position
// blocks. Full position blocks are never written and may be shared between sequences; that of the open tail belongs to
// one sequence alone. Thread-compatible.
class LayerTable {
 public:
  struct Entry {
    PageRef keys;    // in the form that PageRef::form says
    PageRef values;  // empty where values lie in the keys
    std::shared_ptr<PositionBlock> positions;
    std::size_t first_token = 0;  // index within the sequence, a multiple of kBlockTokens
    // The open form of what has been encoded, until let_go_of_open_forms().
    PageRef open_keys{};
    PageRef open_values{};
    bool unencodable = false;                 // holds infinities or not-a-numbers
    bool closed = false;                      // encoded, or kept open for good
    std::shared_ptr<const ColdParts> cold{};  // what it passed through, until let_go_of_cold_parts()
    AttentionMass mass{};                     // while the block is open, if the layer's codecs read it
    // Of a packed block, instead of `positions`: [kv_heads, kBlockTokens], or one list for all.
    std::shared_ptr<const std::vector<std::int32_t>> head_positions{};

    std::size_t number() const { return first_token / kBlockTokens; }
    bool is_demoted() const { return keys.form() >= kDemotedForm; }
    const PageRef& page(PageSlot slot) const { return slot == PageSlot::kKeys ? keys : values; }
  };

  // `forms` must outlive the table.
  explicit LayerTable(const LayerForms& forms) : forms_(&forms) {}

  const LayerForms& forms() const { return *forms_; }

  // One view per page, kept up to date by every change; changes invalidate the span.
  std::span<const PageView> views() const { return views_; }
  // What queries in block number `block`, at positions from `oldest` to `newest`, see when the last `recent` blocks
  // before theirs are as they were computed. Blocks after their own are there only as far as they hold positions that
  // one of them may see; under a window the leading blocks that none of them sees are left out.
  SeenPages seen(std::size_t block, std::int32_t oldest, std::int32_t newest, std::size_t recent) const;
  std::size_t blocks() const { return entries_.size(); }
  std::uint32_t tail_tokens() const;  // in the last page if that is not full, else 0
  const Entry& entry(std::size_t block) const { return entries_[block]; }
  Entry& entry(std::size_t block) { return entries_[block]; }

  // Whether the last page's K and V belong to this table alone, so that it may write to them.
  bool owns_tail() const;

  // Positions of the counted tokens are filled in before, in these two. Requires: count > 0.
  void append(Entry entry, std::uint32_t count);
  void set_tail_count(std::uint32_t count);
  // Whatever open form there was beside the old pages is let go.
  void replace_pages(std::size_t block, PageRef keys, PageRef values);
  void replace_positions(std::size_t block, std::shared_ptr<PositionBlock> positions);
  // A block as it was.
  void restore(std::size_t block, Entry entry, std::uint32_t count);

  // Writes one token's K and V, [kv_heads, head_dim] each (no V where values lie in the keys), into the open page of
  // its block, in the basis of the layer's codecs; notices what no code can stand for. Thread-safe for distinct tokens.
  // Requires: find(token) != blocks().
  void store(std::size_t token, const float* k, const float* v);

  // Encodes these full blocks with pages from `room`, through the cold form where there is one. Blocks that hold what
  // cannot be encoded stay as they are and are counted in `core`. The open forms stay beside the encoded ones.
  void close_blocks(std::span<const std::size_t> blocks, Reservation& room, ThreadPool& pool, CacheCore& core);
  // What the block with this number passed through in this pass, or null.
  const ColdParts* cold_parts(std::size_t number) const;
  void let_go_of_cold_parts(std::size_t first);  // from this block number on
  // From block number `first` on.
  void let_go_of_open_forms(std::size_t first);
  // Back to the open form, where there still is one; attention is counted from nothing again.
  void undo_close(std::size_t block);
  // Replaces the encoded pages of a block by open ones with what they decode to, so that it takes tokens again;
  // attention is counted from nothing again.
  void reopen(std::size_t block, Reservation& room);

  // Which block holds the sequence's token, or blocks() when it was dropped or is not there yet.
  std::size_t find(std::size_t token) const;
  // How many blocks with numbers in [first, end) are not closed.
  std::size_t unclosed(std::size_t first, std::size_t end) const;
  // The first block whose number is not below `number`.
  std::size_t lower_bound(std::size_t number) const;

  // Lets go of one block, wherever it lies.
  void drop(std::size_t block);
  // Packed blocks in place of [first, end). Slot i of theirs under a KV head holds what slot heads[head][i] of the old
  // ones held (one list may stand for all heads); kEmptySlot and slots beyond are empty. Positions are filled in here.
  void replace(std::size_t first, std::size_t end, std::vector<Entry> packed,
               std::span<const std::vector<std::uint32_t>> heads);

  // Lets go of the leading full blocks that no query at `next`, or up to kKeptBehind positions before it, sees through
  // the layer's window. Nothing happens without a window.
  void release_behind(std::int64_t next);
  // A block that came without pages of this layer, since they lie behind the window; `end` is the position after it.
  void skip_released(std::int64_t end) { released_ = end; }
  // Whether a query at `position` sees tokens that were released.
  bool misses(std::int64_t position) const;

  // Keeps what belongs to the first `tokens` tokens of the sequence.
  void shrink(std::size_t tokens);

 private:
  void erase(std::size_t first, std::size_t end);
  void renew_views(std::size_t block);
  void count_anew(Entry& entry) const;
  void count_cold(std::span<const std::size_t> blocks, CacheCore& core) const;
  void close(std::size_t block, PageRef keys, PageRef values);

  const LayerForms* forms_;
  std::vector<Entry> entries_;
  std::vector<PageView> views_;
  std::vector<PageView> open_views_;  // the same where there is no other form
  std::int64_t released_ = 0;         // positions below are behind the window, and gone
};

// Whether no value is infinite, not a number, or beyond what an open page can hold.
bool fits_f16(std::span<const float> values);

}  // namespace cairn::cache

// SPDX-License-Identifier: Apache-2.0
// What is known of the keys of every 16 tokens together, for the full blocks of one table: channel-wise bounds (after
// "Quest: Query-Aware Sparsity for Efficient Long-Context LLM Inference", Tang et al. 2024, arXiv 2406.10774), or their
// mean. It follows from what the pages decode to, so the bound holds for encoded keys. A query that is folded into the
// part that meets the greatest keys and the part that meets the least ones scores 64 boxes as if they were 64 keys,
// with the kernel for raw f16 pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cairn/base/thread_pool.h"
#include "cairn/block/shape.h"
#include "cairn/cache/layer_table.h"
#include "cairn/cache/sheets.h"
#include "cairn/policy/reader.h"

namespace cairn::cache {

// What a box holds: of how many tokens, a divisor of a block's, and whether their mean or their bounds.
struct BoxKind {
  std::uint32_t tokens = kBoxTokens;
  bool means = false;
};

// A value: copies share what is complete. Thread-compatible.
class KeyBoxes {
 public:
  explicit KeyBoxes(PageShape shape, BoxKind kind = {})
      : shape_(shape), kind_(kind), sheets_(sheet_values() * sizeof(std::uint16_t), sheet_blocks()) {}

  std::uint32_t per_block() const { return kBlockTokens / kind_.tokens; }

  std::size_t blocks() const { return sheets_.blocks(); }
  std::size_t bytes() const { return sheets_.bytes(); }
  // Of the budget, for cover() of this many blocks.
  std::size_t growth(std::size_t blocks) const { return sheets_.growth(blocks); }

  // Adds the boxes of the table's pages from blocks() to `blocks`, as they are stored now. Requires: these are full;
  // growth(blocks) in `room`.
  void cover(std::span<const PageView> pages, std::size_t blocks, Reservation& room, ThreadPool& pool);
  // Keeps the first `blocks`.
  void shrink(std::size_t blocks) { sheets_.shrink(blocks); }
  Sheets& sheets() { return sheets_; }

  // scores [rows, boxes] = the product of folded [rows, 2 * head_dim] with each of the first boxes under one KV head,
  // in the basis of the codec; where boxes hold means, of the query itself, [rows, head_dim]. Thread-safe. Requires: no
  // more boxes than blocks() * per_block().
  void scores(std::uint32_t kv_head, const float* folded, std::uint32_t rows, std::span<float> scores) const;

 private:
  std::uint32_t depth() const { return shape_.head_dim * (kind_.means ? 1 : 2); }
  std::size_t sheet_blocks() const { return kind_.tokens; }  // whose boxes fill one page-like sheet
  std::size_t sheet_values() const { return std::size_t{shape_.kv_heads} * depth() * kBlockTokens; }
  // Of a sheet: [kv_heads, depth(), kBlockTokens] as f16.
  std::uint16_t* values(std::size_t sheet) const { return reinterpret_cast<std::uint16_t*>(sheets_.data(sheet)); }
  void write(const PageView& page, std::size_t block) const;

  PageShape shape_;
  BoxKind kind_;
  Sheets sheets_;
};

}  // namespace cairn::cache

// SPDX-License-Identifier: Apache-2.0
// The mean of the values of every 16 tokens, for the full blocks of one table: what stands for tokens that a query does
// not read (after "SparQ Attention: Bandwidth-Efficient LLM Inference", Ribar et al. 2023, arXiv 2312.04985, where one
// mean stands for all). It follows from what the pages decode to, in the basis of the codec. 64 boxes lie like the
// values of a page of raw f16, so that they are weighed as if they were 64 tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cairn/attention/attend.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/shape.h"
#include "cairn/cache/sheets.h"

namespace cairn::cache {

// A value: copies share what is complete. Thread-compatible.
class ValueMeans {
 public:
  static constexpr std::uint32_t kSheetBlocks = kBlockTokens / kBlockBoxes;

  explicit ValueMeans(PageShape shape)
      : shape_(shape), sheets_(shape.kv_heads * head_values() * sizeof(std::uint16_t), kSheetBlocks) {}

  std::size_t blocks() const { return sheets_.blocks(); }
  std::size_t bytes() const { return sheets_.bytes(); }
  // Of the budget, for cover() of this many blocks.
  std::size_t growth(std::size_t blocks) const { return sheets_.growth(blocks); }

  // Adds the means of the table's pages from blocks() to `blocks`, as they are stored now; of values in keys too.
  // Requires: these are full; growth(blocks) in `room`.
  void cover(std::span<const PageView> pages, std::size_t blocks, Reservation& room, ThreadPool& pool);
  // Keeps the first `blocks`.
  void shrink(std::size_t blocks) { sheets_.shrink(blocks); }
  Sheets& sheets() { return sheets_; }

  // acc [rows, value_dim()] = acc * correction [rows] + the means of a sheet under one KV head, each by its weight in
  // p [rows, 64], which is zero for boxes that are not covered. Thread-safe.
  void accumulate(std::uint32_t kv_head, std::size_t sheet, const float* p, const float* correction, std::uint32_t rows,
                  float* acc) const;

 private:
  std::size_t head_values() const { return std::size_t{kBlockTokens} * shape_.value_dim(); }
  // Of a sheet: [kv_heads, kBlockTokens, value_dim()] as f16.
  std::uint16_t* values(std::size_t sheet) const { return reinterpret_cast<std::uint16_t*>(sheets_.data(sheet)); }
  void write(const PageView& page, std::size_t block) const;

  PageShape shape_;
  Sheets sheets_;
};

}  // namespace cairn::cache

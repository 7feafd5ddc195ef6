// SPDX-License-Identifier: Apache-2.0
// Copies of a table's keys in two bits a channel, for the full blocks alone: enough to tell which boxes a query would
// look at, for 19 bytes where an f16 key of 64 channels has 128. Keys are counted from the middle of their neighbours,
// turned by a Hadamard transform, so that no channel stands out, and rounded to four levels with a scale for each
// token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/base/thread_pool.h"
#include "cairn/cache/sheets.h"
#include "cairn/kernels/sketches.h"

namespace cairn::cache {

// The queries of one row as sketches meet them, in Hadamard's basis. Memory that is used again.
class SketchQueries {
 public:
  // q is [heads, dim], and must live as long as it is asked with.
  void round(std::span<const float> q, std::uint32_t dim);
  const SketchQuery* of_head(std::size_t head) const { return queries_.data() + head; }

 private:
  std::vector<SketchQuery> queries_;
  std::vector<std::int8_t> codes_;
};

// A value: copies share what is complete. Thread-compatible. What a sketch is follows from the keys of its own four
// blocks, so it does not matter when it was made.
class KeySketches {
 public:
  static constexpr std::uint32_t kSheetBlocks = kSketchBoxes / kBlockBoxes;

  explicit KeySketches(PageShape shape) : shape_(shape), sheets_(shape.kv_heads * head_bytes(), kSheetBlocks) {}

  std::size_t blocks() const { return sheets_.blocks(); }
  std::size_t bytes() const { return sheets_.bytes(); }
  // Of the budget, for cover() of this many blocks.
  std::size_t growth(std::size_t blocks) const { return sheets_.growth(blocks); }

  // Adds the sketches of the table's pages from blocks() to `blocks`, of what they decode to; `basis` is that of the
  // keys of this layer, encoded or not. Requires: these are full; growth(blocks) in `room`.
  void cover(std::span<const PageView> pages, std::size_t blocks, const Basis& basis, Reservation& room,
             ThreadPool& pool);
  // Keeps the first `blocks`.
  void shrink(std::size_t blocks) { sheets_.shrink(blocks); }
  Sheets& sheets() { return sheets_; }

  // tops [rows, kSketchBoxes]: the greatest score that a key of each box of a sheet gets from each of `rows` queries
  // under one KV head. Of the last sheet, only the boxes of blocks() are to be looked at. Thread-safe.
  void tops(std::uint32_t kv_head, std::size_t sheet, const SketchQuery* queries, std::uint32_t rows,
            float* tops) const;

 private:
  std::size_t code_bytes() const { return std::size_t{kBoxTokens} * sketch_vectors(shape_.head_dim) * 64; }
  std::size_t scale_bytes() const { return std::size_t{kBoxTokens} * kSketchBoxes * sizeof(std::uint16_t); }
  std::size_t head_bytes() const {
    return code_bytes() + scale_bytes() + (shape_.head_dim * sizeof(float) + 63) / 64 * 64;
  }
  void write(const PageView& page, std::size_t block, const Basis& basis) const;

  PageShape shape_;
  Sheets sheets_;  // [kv_heads, head_bytes()] each
};

}  // namespace cairn::cache

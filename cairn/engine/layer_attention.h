// SPDX-License-Identifier: Apache-2.0
// Attention of new tokens at one layer of their sequences, together with what it entails for the cache: blocks that are
// due are encoded before anything later is computed over them, and attention is counted for codecs that ask for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/base/aligned_buffer.h"
#include "cairn/base/thread_pool.h"
#include "cairn/cache/sequence.h"

namespace cairn {

// Rows of one sequence in order, all among its reserved tokens: row i is token `tokens[i]`, an index in the sequence.
struct LayerRows {
  Sequence* sequence = nullptr;
  std::span<const std::size_t> tokens;
  const float* q = nullptr;                 // [rows, heads, head_dim], rotated, softmax scale folded in
  const std::int32_t* positions = nullptr;  // [rows]
  float* out = nullptr;                     // [rows, heads, head_dim]
};

// Holds scratch memory between calls; thread-compatible.
class LayerAttention {
 public:
  LayerAttention(std::uint32_t heads, ThreadPool& pool);

  // Whether every new token must have a row, even where its output is not wanted.
  static bool needs_all_rows(const Sequence& sequence, std::uint32_t layer);

  // Requires: K and V of all reserved tokens are stored at this layer; each sequence at most once, and also without any
  // rows, since its blocks are encoded here.
  void attend(std::uint32_t layer, std::span<const LayerRows> batch);

 private:
  void attend_at_once(std::uint32_t layer, std::span<const LayerRows> batch);
  void attend_and_count(std::uint32_t layer, const LayerRows& rows);
  void count_mass(std::uint32_t layer, const AttendLayer& call, Sequence& sequence, const AttendRows& rows,
                  std::size_t first_token);
  AttendRows rows_of_block(std::uint32_t layer, const LayerRows& rows, std::size_t first) const;

  std::uint32_t heads_;
  ThreadPool& pool_;
  Attention attention_;
  std::vector<AttendRows> attend_rows_;
  Scratch<float> softmax_;
};

}  // namespace cairn

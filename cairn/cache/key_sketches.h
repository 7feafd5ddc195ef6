// SPDX-License-Identifier: Apache-2.0
// Copies of a table's keys in few bits, for the full blocks alone: enough to tell which pages a query would attend to,
// at a fraction of the bytes. A sketch is a page of a codec, and is scored as such.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/base/aligned_buffer.h"
#include "cairn/base/thread_pool.h"
#include "cairn/codec/codec.h"

namespace cairn::cache {

// A value: copies share the sketches. Thread-compatible.
class KeySketches {
 public:
  // Requires: a codec that encodes without signals and codebooks, and holds this shape.
  KeySketches(const Codec& codec, PageShape shape);

  std::size_t blocks() const { return sketches_.size(); }
  std::size_t bytes() const { return blocks() * page_bytes_; }
  // The bytes that cover() of this many blocks adds to bytes().
  std::size_t growth(std::size_t blocks) const;

  // Adds the sketches of the table's pages from blocks() to `blocks`, of what they decode to; `hadamard` says whether
  // the keys of this layer, encoded or not, lie in that basis. Requires: these are full.
  void cover(std::span<const PageView> pages, std::size_t blocks, bool hadamard, ThreadPool& pool);
  // Keeps the first `blocks`.
  void shrink(std::size_t blocks);

  // As a key page, in the basis of format().codec.
  const PageFormat& format() const { return format_; }
  const std::byte* page(std::size_t block) const { return sketches_[block]->data(); }

 private:
  PageFormat format_;
  std::size_t page_bytes_;
  std::vector<std::shared_ptr<Scratch<std::byte>>> sketches_;
};

}  // namespace cairn::cache

// SPDX-License-Identifier: Apache-2.0
// The form of a block where bytes cost more than computing: in a store. After KVTC (arXiv 2511.01815): keys, as they
// were before they were rotated, and values on learnt axes across all KV heads of a layer, rounded, and entropy coded
// with frequencies that were learnt too. Not after it: a token that draws attention gets finer steps than others, by
// what its key says of that (docs/cold-form.md).
//
// A block passes through the form when it is sealed: encode() puts what decode() will give in the place of its keys and
// values, so memory holds what a store gives back. docs/cold-form.md has the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/block/rope.h"
#include "cairn/block/shape.h"
#include "cairn/codec/codebooks.h"
#include "cairn/codec/cold_table.h"
#include "cairn/codec/rans.h"

namespace cairn {

// By what keys are rotated at any position; the same bits whenever a position is asked for. Immutable; thread-safe.
class ColdRotation {
 public:
  explicit ColdRotation(const RopeSpec& spec);

  // rows [kBlockTokens, n], heads of head_dim channels: takes the rotation at their positions away, or puts it back.
  void undo(std::span<const std::int32_t> positions, std::uint32_t head_dim, std::span<float> rows) const;
  void redo(std::span<const std::int32_t> positions, std::uint32_t head_dim, std::span<float> rows) const;

 private:
  void turn(std::span<const std::int32_t> positions, std::uint32_t head_dim, bool back, std::span<float> rows) const;

  RopeSpec spec_;
  std::vector<double> frequencies_;
  std::vector<double> cos_, sin_;  // of the positions below kBlockTokens, [kBlockTokens, pairs]
};

// A block, as far as its form depends on it.
struct ColdBlock {
  std::span<const std::int32_t> positions;  // [kBlockTokens]
  bool first = false;                       // of its sequence: the first token is exact
};

struct ColdParts {
  std::vector<std::byte> keys, values;
};

// Of all layers of a model. Immutable; thread-safe.
class ColdForm {
 public:
  static constexpr std::size_t kPartHeadBytes = 72;  // that every part begins with

  // The errors of cold::check_shape and cold::check_table; kInvalidArgument for codebooks of something else.
  static Result<std::shared_ptr<const ColdForm>> make(std::shared_ptr<const Codebooks> tables);

  const Codebooks& tables() const { return *tables_; }
  PageShape shape() const { return tables_->shape(); }

  // k and v are [kBlockTokens, kv_heads, head_dim], finite; afterwards what decode() gives for the parts.
  ColdParts encode(std::uint32_t layer, const ColdRotation& rotation, const ColdBlock& block, std::span<float> k,
                   std::span<float> v) const;
  // False for bytes that encode() did not write, as far as that shows; any bytes will do.
  bool decode(LayerSlot at, const ColdRotation& rotation, const ColdBlock& block, std::span<const std::byte> part,
              std::span<float> rows) const;

 private:
  struct Slot {
    cold::TableView view;
    std::vector<rans::Table> runs;  // of the scales, then of the codes
    std::vector<float> saliency;    // [n, 16] as turn_rows() takes it: one column, and zeros
  };
  explicit ColdForm(std::shared_ptr<const Codebooks> tables);
  const Slot& slot(LayerSlot at) const { return slots_[at.index()]; }
  std::vector<float> without_mean(const Slot& slot, std::span<const float> rows) const;
  // Replaces `rows` by what decode_rows() gives for the bytes.
  std::vector<std::byte> encode_rows(const Slot& slot, std::span<const float> centred,
                                     std::span<const std::uint8_t> scales, bool first, std::span<float> rows) const;
  bool decode_rows(const Slot& slot, bool first, std::span<const std::byte> part, std::span<float> rows) const;

  const std::shared_ptr<const Codebooks> tables_;
  std::vector<Slot> slots_;
};

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// The basis in which the keys or values of a layer lie under a codec: the model's own, Hadamard's, or one that was
// learnt for each KV head. Queries are turned so that q K stays what it is, and outputs are turned back, so attention
// itself knows of no basis.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cairn/block/shape.h"

namespace cairn {

enum class BasisKind : std::uint8_t { kModel, kHadamard, kTrained };

// Of one slot at one layer. A value. Every row is turned by itself, so its bits do not depend on its company.
// Thread-safe.
class Basis {
 public:
  Basis() = default;  // the model's
  static Basis hadamard(PageShape shape) { return {BasisKind::kHadamard, shape, nullptr}; }
  // `matrices` [kv_heads][3][head_dim][head_dim], not owned, are for each head in turn
  //   forward  turned[i] = sum over d of x[d] forward[d][i]
  //   back     x[d] = sum over i of turned[i] back[i][d]
  //   query    turned query[i] = sum over d of q[d] query[d][i]: the transposed inverse of forward
  static Basis trained(PageShape shape, const float* matrices) { return {BasisKind::kTrained, shape, matrices}; }

  bool is_hadamard() const { return kind_ == BasisKind::kHadamard; }

  // Keys or values [n, kv_heads, head_dim], in place.
  void turn_tokens(std::span<float> rows) const { turn_heads(kForward, rows); }
  void turn_tokens_back(std::span<float> rows) const { turn_heads(kBack, rows); }
  // Queries [n, head_dim] that meet the keys of one head; outputs [n, head_dim] from the values of one.
  void turn_queries(std::uint32_t kv_head, std::span<float> rows) const { turn_head(kQuery, kv_head, rows); }
  void turn_outputs_back(std::uint32_t kv_head, std::span<float> rows) const { turn_head(kBack, kv_head, rows); }

  bool operator==(const Basis&) const = default;

 private:
  enum Matrix : std::uint8_t { kForward, kBack, kQuery };

  Basis(BasisKind kind, PageShape shape, const float* matrices) : kind_(kind), shape_(shape), matrices_(matrices) {}
  void turn_heads(Matrix which, std::span<float> rows) const;
  void turn_head(Matrix which, std::uint32_t kv_head, std::span<float> rows) const;
  void turn(Matrix which, std::uint32_t kv_head, float* rows, std::size_t count, std::size_t stride) const;

  BasisKind kind_ = BasisKind::kModel;
  PageShape shape_{};
  const float* matrices_ = nullptr;
};

}  // namespace cairn

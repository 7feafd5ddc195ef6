// SPDX-License-Identifier: Apache-2.0
// What a pass can tell beside its outputs. Nothing here is computed or kept unless it was asked for: by a codec, whose
// row of the table says what its encoder reads (Codec::signals), or by a listener, layer by layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/base/thread_pool.h"

namespace cairn {

// What a listener wants to be told of a layer.
struct SignalRequest {
  bool stored = false;   // K and V of every row as they are stored, and X, the layer's input
  bool queries = false;  // the queries of every row, also where no output is wanted
  bool softmax = false;  // the state of the softmax of every query that is computed
};

// Rows as the cache stores them. Pointers are valid during the call.
struct StoredRows {
  std::uint32_t layer = 0;
  PageShape shape{};
  std::span<const std::int32_t> positions;
  const float* k = nullptr;  // [rows, kv_heads, head_dim], rotated
  const float* v = nullptr;  // null where values lie in the keys
  const float* x = nullptr;  // [rows, width of the model], what K and V were computed from; null where it is not known
};

// Rows whose attention has been computed. Pointers are valid during the call.
struct AttendedRows {
  std::uint32_t layer = 0;
  std::uint32_t heads = 0, head_dim = 0;
  std::span<const std::int32_t> positions;
  const float* q = nullptr;        // [rows, heads, head_dim], rotated and scaled
  const float* softmax = nullptr;  // AttendRows::softmax, [rows, heads, 2], if asked
};

// Told by the thread that computes the pass, once for all rows of a layer; it changes nothing.
class SignalListener {
 public:
  virtual ~SignalListener() = default;
  virtual SignalRequest wants(std::uint32_t layer) const = 0;
  virtual void stored(const StoredRows& rows) { static_cast<void>(rows); }
  virtual void attended(const AttendedRows& rows) { static_cast<void>(rows); }
};

// The softmax weights that query rows give the tokens of a page under one KV head: weights [rows * group,
// kBlockTokens], the query heads of a row one after the other. rows.softmax must be what attend() left there; the
// weights are those of the whole softmax, of which a sink has its share. Costs the scores of the page: attention itself
// is not materialised. Thread-safe.
void attention_weights(const AttendRows& rows, const PageView& page, const AttendLayer& layer, std::uint32_t kv_head,
                       float* weights);

// How much attention each token of one block got under each KV head, for codecs that keep some tokens better than
// others (ZipCache's saliency). Every query of the block counts for it; of later ones only probes do. A value; empty
// until collect().
class AttentionMass {
 public:
  AttentionMass() = default;

  // Whether a later query counts: one in ten, which is how many ZipCache takes.
  static bool is_probe(std::size_t token) { return token % 10 == 0; }

  bool collecting() const { return !sums_.empty(); }
  // From nothing.
  void collect(std::uint32_t kv_heads) { *this = AttentionMass(kv_heads); }
  void stop() { *this = {}; }

  // Adds the softmax weight that each query row gives to each token of `page`, the query heads of a KV head one after
  // the other, rows in order, so that it does not matter how rows are divided among calls (attention_weights()).
  // Requires: collecting().
  void add(const AttendRows& rows, const PageView& page, const AttendLayer& layer, ThreadPool& pool);
  void add_probe(const AttendRows& row, const PageView& page, const AttendLayer& layer, ThreadPool& pool) {
    add(row, page, layer, pool);
    ++later_probes_;
  }

  // [kv_heads, kBlockTokens]: over the queries that saw a token, so that early tokens are not preferred for being seen
  // by more. Never a NaN.
  std::vector<float> means(std::uint32_t kv_heads) const;

 private:
  explicit AttentionMass(std::uint32_t kv_heads) : sums_(std::size_t{kv_heads} * kBlockTokens) {}

  std::vector<float> sums_;  // [kv_heads, kBlockTokens]
  std::uint32_t later_probes_ = 0;
};

}  // namespace cairn

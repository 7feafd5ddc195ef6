// SPDX-License-Identifier: Apache-2.0
// What stands for the tokens that a query does not read: the mean of their values, by the weight that they would have
// got. Weights are estimates, of a reader that looked at some channels of the keys or at their means; so that they fit
// what attention finds, they count in units of what the same reader thinks of the tokens that are read: with the weight
// a of these and b of the others, a query head gets (a out + b mean) / (a + b). With one mean of all values this is
// SparQ's mean value reallocation (Ribar et al. 2023, arXiv 2312.04985).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/base/thread_pool.h"
#include "cairn/cache/value_means.h"
#include "cairn/policy/policy.h"

namespace cairn::cache {

// What each query head of one row thinks of the tokens that it sees, before any softmax over them: those of a box
// together weigh weight * exp(score), and so do those of all open pages. Memory that is used again. Different heads may
// be set by different threads at once, and so may different blocks by set_keys().
class TokenWeights {
 public:
  // Nothing weighs anything. Scores go through a cap first, where there is one.
  void reset(std::size_t heads, std::size_t boxes, float score_cap);

  // All tokens of each box score what its mean key does: scores [heads, boxes] of the heads from `first_head` on, not
  // capped.
  void set_means(std::size_t first_head, std::span<const float> scores);
  // The boxes `wanted` of a block weigh what their tokens in `visible` do: scores [heads, kBlockTokens], capped. The
  // scores are used up.
  void set_keys(std::size_t first_head, std::size_t heads, std::size_t block, std::uint8_t wanted,
                std::uint64_t visible, std::span<float> scores);
  // The same of a page that is open, beside those before it.
  void add_open(std::size_t first_head, std::size_t heads, std::uint64_t visible, std::span<float> scores);

  std::size_t boxes() const { return boxes_; }
  std::span<const float> scores(std::size_t head) const { return std::span(scores_).subspan(head * boxes_, boxes_); }
  std::span<const float> weights(std::size_t head) const { return std::span(weights_).subspan(head * boxes_, boxes_); }
  float open_score(std::size_t head) const { return open_scores_[head]; }
  float open_weight(std::size_t head) const { return open_weights_[head]; }

 private:
  std::size_t boxes_ = 0;
  float score_cap_ = 0;
  std::vector<float> scores_, weights_;            // [heads, boxes]
  std::vector<float> open_scores_, open_weights_;  // [heads]
};

struct RestOf {
  RestRule rule = RestRule::kBoxes;
  const ValueMeans& means;  // of all of these pages
  const TokenWeights& weights;
  std::span<const PageView> pages;      // full blocks, of which some boxes are read
  std::span<const std::uint8_t> reads;  // which: [pages, kv_heads], a bit for each box
  std::int32_t position = 0;            // of the query
};

// rest: AttendRows::rest of one row, [heads, 1 + value_dim()]. A box with a token that the query does not see is not
// stood for, since its mean counts that token. Nor is a box whose weight is no finite number: of it nothing is known,
// and it counts neither among what is read nor among the rest.
void rest_of_values(const RestOf& what, const AttendLayer& how, ThreadPool& pool, std::span<float> rest);

}  // namespace cairn::cache

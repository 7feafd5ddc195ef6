// SPDX-License-Identifier: Apache-2.0
// Scorers by keys and values, which never see a query.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "cairn/policy/scorer.h"

namespace cairn {
namespace {

double dot(const float* a, const float* b, std::size_t count) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// The slots of one KV head that hold a token, oldest first.
std::vector<std::size_t> occupied_slots(const LayerEvidence& evidence, std::uint32_t head) {
  std::vector<std::size_t> occupied;
  occupied.reserve(evidence.slots);
  for (std::size_t slot = 0; slot < evidence.slots; ++slot) {
    if (evidence.positions[head * evidence.slots + slot] != kNoToken) occupied.push_back(slot);
  }
  return occupied;
}

// Short keys get much attention.
void score_knorm(const LayerEvidence& evidence, const PolicySpec&, std::span<float> scores) {
  const std::size_t dim = evidence.shape.head_dim;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const float* key = evidence.keys + i * dim;
    scores[i] = static_cast<float>(-std::sqrt(dot(key, key, dim)));
  }
}

// Minus the cosine between a key and the mean direction of all. A key of zeros is unlike nothing: 0.
void score_keydiff(const LayerEvidence& evidence, const PolicySpec&, std::span<float> scores) {
  const std::size_t dim = evidence.shape.head_dim;
  std::vector<double> mean(dim);
  for (std::uint32_t head = 0; head < evidence.shape.kv_heads; ++head) {
    const float* keys = evidence.keys + head * evidence.slots * dim;
    const std::span<float> own = scores.subspan(head * evidence.slots, evidence.slots);
    std::ranges::fill(own, 0.0f);
    std::ranges::fill(mean, 0.0);
    const std::vector<std::size_t> occupied = occupied_slots(evidence, head);
    for (const std::size_t slot : occupied) {
      const float* key = keys + slot * dim;
      const double norm = std::sqrt(dot(key, key, dim));
      if (norm == 0) continue;
      for (std::size_t c = 0; c < dim; ++c) mean[c] += static_cast<double>(key[c]) / norm;
    }
    const double mean_norm = std::sqrt(std::inner_product(mean.begin(), mean.end(), mean.begin(), 0.0));
    if (mean_norm == 0) continue;
    for (const std::size_t slot : occupied) {
      const float* key = keys + slot * dim;
      const double norm = std::sqrt(dot(key, key, dim));
      double product = 0;
      for (std::size_t c = 0; c < dim; ++c) product += static_cast<double>(key[c]) * mean[c];
      if (norm != 0) own[slot] = static_cast<float>(-product / (norm * mean_norm));
    }
  }
}

constexpr std::size_t kLag = 128;  // tokens of a chunk

// Adds to `amounts` what one chunk's rows of keys or values differ by: each channel is measured on the range that the
// next chunk spans there, the spread of a token's channels goes through a softmax over the chunk.
class LagMeasure {
 public:
  LagMeasure(const float* rows, std::size_t dim) : rows_(rows), dim_(dim), low_(dim), high_(dim), spread_(kLag) {}

  void add(std::span<const std::size_t> chunk, std::span<const std::size_t> next, std::span<double> amounts) {
    std::ranges::fill(low_, std::numeric_limits<double>::infinity());
    std::ranges::fill(high_, -std::numeric_limits<double>::infinity());
    for (const std::size_t slot : next) {
      for (std::size_t c = 0; c < dim_; ++c) {
        const auto value = static_cast<double>(rows_[slot * dim_ + c]);
        low_[c] = std::min(low_[c], value);
        high_[c] = std::max(high_[c], value);
      }
    }
    for (std::size_t i = 0; i < kLag; ++i) spread_[i] = spread_of(rows_ + chunk[i] * dim_);
    const double greatest = std::ranges::max(spread_);
    double sum = 0;
    for (double& spread : spread_) sum += spread = std::exp(spread - greatest);
    for (std::size_t i = 0; i < kLag; ++i) amounts[i] += spread_[i] / sum;
  }

 private:
  // Sample standard deviation over the channels. One in which the next chunk does not vary says nothing: 0.
  double spread_of(const float* row) const {
    double sum = 0, squares = 0;
    const auto measured = [&](std::size_t c) {
      const double range = high_[c] - low_[c];
      return range > 0 ? (static_cast<double>(row[c]) - low_[c]) / range : 0.0;
    };
    for (std::size_t c = 0; c < dim_; ++c) sum += measured(c);
    const double mean = sum / static_cast<double>(dim_);
    for (std::size_t c = 0; c < dim_; ++c) squares += (measured(c) - mean) * (measured(c) - mean);
    return dim_ < 2 ? 0 : std::sqrt(squares / static_cast<double>(dim_ - 1));
  }

  const float* rows_;
  std::size_t dim_;
  std::vector<double> low_, high_, spread_;
};

// The rank within the chunk, as a share. Sinks and what has no full chunk after it come before all others, the newest
// first.
void score_lagkv(const LayerEvidence& evidence, const PolicySpec& policy, std::span<float> scores) {
  const std::size_t key_dim = evidence.shape.head_dim, value_dim = evidence.shape.value_dim();
  std::vector<double> amounts(kLag);
  std::vector<std::size_t> order(kLag);
  for (std::uint32_t head = 0; head < evidence.shape.kv_heads; ++head) {
    const std::int32_t* positions = evidence.positions + head * evidence.slots;
    const std::span<float> own = scores.subspan(head * evidence.slots, evidence.slots);
    std::ranges::fill(own, 0.0f);
    const std::vector<std::size_t> occupied = occupied_slots(evidence, head);
    for (std::size_t i = 0; i < occupied.size(); ++i) {
      own[occupied[i]] = 1 + static_cast<float>(i) / static_cast<float>(occupied.size());
    }
    LagMeasure keys(evidence.keys + head * evidence.slots * key_dim, key_dim);
    LagMeasure values(evidence.values + head * evidence.slots * value_dim, value_dim);
    std::span<const std::size_t> rest = occupied;
    while (!rest.empty() && positions[rest.front()] < static_cast<std::int64_t>(policy.sinks)) rest = rest.subspan(1);
    for (; rest.size() >= 2 * kLag; rest = rest.subspan(kLag)) {
      const std::span<const std::size_t> chunk = rest.first(kLag), next = rest.subspan(kLag, kLag);
      std::ranges::fill(amounts, 0.0);
      keys.add(chunk, next, amounts);
      values.add(chunk, next, amounts);
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::ranges::stable_sort(order, {}, [&](std::size_t i) { return amounts[i]; });
      for (std::size_t rank = 0; rank < kLag; ++rank) {
        own[chunk[order[rank]]] = static_cast<float>(rank) / static_cast<float>(kLag);
      }
    }
  }
}

}  // namespace

std::span<const Scorer> key_scorers() {
  static const Scorer rows[] = {
      {"knorm", {.keys = true}, "Devoto 2024, arXiv 2406.11430", score_knorm},
      {"keydiff", {.keys = true}, "Park 2025, arXiv 2504.15364", score_keydiff},
      {"lagkv", {.keys = true, .values = true}, "Liang 2025, arXiv 2504.04704", score_lagkv},
  };
  return rows;
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Expected Attention (Devoto et al. 2025, arXiv 2510.00636, in the form that kvpress gives it): queries to come are
// taken to be one Gaussian for each query head, so that what they will give a key is known without them.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include "cairn/block/rope.h"
#include "cairn/policy/scorer.h"

namespace cairn {
namespace {

constexpr std::int64_t kFuture = 512;  // positions after the prompt over which the rotation is averaged

// The mean of the rotations at the next positions: a pair turns, and shrinks the more the faster it turns.
class MeanRotation {
 public:
  MeanRotation(const RopeSpec& rope, std::int64_t next) : rope_(rope) {
    for (const double frequency : rope.inverse_frequencies()) {
      double cos = 0, sin = 0;
      for (std::int64_t position = next; position < next + kFuture; ++position) {
        cos += std::cos(static_cast<double>(position) * frequency);
        sin += std::sin(static_cast<double>(position) * frequency);
      }
      cos_.push_back(cos / kFuture);
      sin_.push_back(sin / kFuture);
    }
  }

  // Of a vector whose channels lie `step` apart.
  void apply(double* values, std::size_t step) const {
    const std::size_t pairs = cos_.size();
    const bool neighbours = rope_.pairing == RopePairing::kNeighbours;
    for (std::size_t i = 0; i < pairs; ++i) {
      const std::size_t at = rope_.first + (neighbours ? 2 * i : i);
      double& a = values[at * step];
      double& b = values[(neighbours ? at + 1 : at + pairs) * step];
      const double turned = a * cos_[i] - b * sin_[i];
      b = a * sin_[i] + b * cos_[i];
      a = turned;
    }
  }

 private:
  const RopeSpec& rope_;
  std::vector<double> cos_, sin_;
};

// The logarithm of the mean of exp(q k) over queries of one Gaussian: mean k + k covariance k / 2. The softmax scale
// lies in the queries.
class ExpectedProduct {
 public:
  ExpectedProduct(const QueryGaussians& queries, std::size_t head, std::size_t dim, const MeanRotation& rotation)
      : mean_(queries.mean.begin() + static_cast<std::ptrdiff_t>(head * dim),
              queries.mean.begin() + static_cast<std::ptrdiff_t>((head + 1) * dim)),
        half_(dim * dim),
        product_(dim) {
    const double* own = queries.covariance.data() + head * dim * dim;
    std::vector<double> covariance(own, own + dim * dim);
    for (std::size_t i = 0; i < dim; ++i) rotation.apply(covariance.data() + i * dim, 1);
    for (std::size_t i = 0; i < dim; ++i) rotation.apply(covariance.data() + i, dim);
    rotation.apply(mean_.data(), 1);
    for (std::size_t j = 0; j < dim; ++j) {
      for (std::size_t i = 0; i < j; ++i) half_[j * dim + i] = static_cast<float>(covariance[j * dim + i]);
      half_[j * dim + j] = static_cast<float>(covariance[j * dim + j] / 2);
    }
  }

  double with(const float* key) {
    const std::size_t dim = mean_.size();
    std::ranges::fill(product_, 0.0f);
    for (std::size_t j = 0; j < dim; ++j) {
      const float* row = half_.data() + j * dim;
      for (std::size_t i = 0; i <= j; ++i) product_[i] += key[j] * row[i];
    }
    double sum = 0;
    for (std::size_t i = 0; i < dim; ++i) {
      sum += static_cast<double>(key[i]) * (mean_[i] + static_cast<double>(product_[i]));
    }
    return sum;
  }

 private:
  std::vector<double> mean_;
  std::vector<float> half_;  // the lower triangle, its diagonal halved: the upper one is the same again
  std::vector<float> product_;
};

double norm(const float* values, std::size_t count) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  return std::sqrt(sum);
}

// Softmax over the tokens of a KV head, the mean over its query heads, times the length of the value. Sinks are left
// out and get the greatest score of the head.
void score_expected(const LayerEvidence& evidence, const PolicySpec& policy, std::span<float> scores) {
  const QueryGaussians& queries = *evidence.queries;
  const std::size_t dim = evidence.shape.head_dim, value_dim = evidence.shape.value_dim();
  std::int64_t next = 0;
  const std::span positions(evidence.positions, scores.size());
  for (const std::int32_t position : positions) next = std::max(next, std::int64_t{position} + 1);
  const MeanRotation rotation(queries.rope, next);
  std::ranges::fill(scores, 0.0f);
  for (std::uint32_t head = 0; head < evidence.shape.kv_heads; ++head) {
    const std::size_t first = head * evidence.slots;
    std::vector<std::size_t> tokens;
    for (std::size_t i = first; i < first + evidence.slots; ++i) {
      if (positions[i] != kNoToken && positions[i] >= static_cast<std::int64_t>(policy.sinks)) tokens.push_back(i);
    }
    std::vector<double> weights(tokens.size()), sums(tokens.size());
    for (std::uint32_t g = 0; g < queries.per_kv_head; ++g) {
      ExpectedProduct expected(queries, std::size_t{head} * queries.per_kv_head + g, dim, rotation);
      double greatest = -std::numeric_limits<double>::infinity(), sum = 0;
      for (std::size_t t = 0; t < tokens.size(); ++t) {
        weights[t] = expected.with(evidence.keys + tokens[t] * dim);
        greatest = std::max(greatest, weights[t]);
      }
      for (double& weight : weights) sum += weight = std::exp(weight - greatest);
      for (std::size_t t = 0; t < tokens.size(); ++t) sums[t] += weights[t] / sum;
    }
    float best = 0;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      const double mean = sums[t] / std::max(queries.per_kv_head, 1u);
      scores[tokens[t]] = static_cast<float>(mean * norm(evidence.values + tokens[t] * value_dim, value_dim));
      best = std::max(best, scores[tokens[t]]);
    }
    for (std::size_t i = first; i < first + evidence.slots; ++i) {
      if (positions[i] != kNoToken && positions[i] < static_cast<std::int64_t>(policy.sinks)) scores[i] = best;
    }
  }
}

}  // namespace

std::span<const Scorer> query_scorers() {
  static const Scorer rows[] = {
      {"expected", {.keys = true, .values = true, .queries = true}, "Devoto 2025, arXiv 2510.00636", score_expected}};
  return rows;
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/train/train_codebooks.h"

#include <faiss/Clustering.h>
#include <faiss/IndexFlat.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cairn/base/single_openmp_thread.h"
#include "cairn/codec/codec.h"
#include "cairn/codec/head_quantizer.h"
#include "cairn/codec/pq_head.h"

namespace cairn::train {
namespace {

faiss::ClusteringParameters parameters(const KmeansShape& plan) {
  faiss::ClusteringParameters p;
  p.niter = plan.iterations;
  p.seed = static_cast<int>(plan.seed & 0x7fffffff);
  p.min_points_per_centroid = 1;  // no warnings on standard error
  p.max_points_per_centroid = std::numeric_limits<int>::max();
  return p;
}

std::vector<float> quantiles(std::span<const float> points, std::uint32_t count) {
  std::vector<float> sorted(points.begin(), points.end());
  std::ranges::sort(sorted);
  std::vector<float> at;
  for (std::size_t c = 0; c < count; ++c) at.push_back(sorted[(2 * c + 1) * sorted.size() / (2 * count)]);
  return at;
}

// With a sum of n, as if nothing was weighted: an empty cluster is refilled from one whose weight exceeds 1, and faiss
// searches for such a one until it finds it.
std::vector<float> balanced(std::span<const float> weights) {
  double sum = 0;
  for (const float weight : weights) sum += weight;
  std::vector<float> out(weights.size(), 1.0f);
  for (std::size_t i = 0; i < weights.size() && sum > 0; ++i) {
    out[i] = static_cast<float>(weights[i] / sum * static_cast<double>(weights.size()));
  }
  return out;
}

// Gains and centroids depend on each other, so the 25 iterations of the paper are cut into rounds.
constexpr int kRounds = 5, kIterations = 5;

// The table of one head in the making, over rows [n, head_dim] in the basis of the codec.
class HeadTraining {
 public:
  HeadTraining(codecs::PqForm form, std::uint32_t dim, std::vector<float> rows)
      : form_(form),
        dim_(dim),
        n_(rows.size() / dim),
        rows_(std::move(rows)),
        gains_(n_),
        centroids_(dim),
        table_(codecs::pq_head_bytes(form, dim)) {
    take_off_means();
    for (std::size_t t = 0; t < n_; ++t) {
      double sum = 0;
      for (std::uint32_t d = 0; d < dim; ++d) sum += rows_[t * dim + d] * rows_[t * dim + d];
      gains_[t] = codecs::small_scale(codecs::small_scale_nearest(static_cast<float>(std::sqrt(sum / dim))));
    }
  }

  // Centroids for the gains as they are.
  void place_centroids() {
    const std::uint32_t width = form_ == codecs::PqForm::kChannels ? 1 : 2;
    const KmeansShape plan = {
        .dimensions = width,
        .centroids = form_ == codecs::PqForm::kChannels ? codecs::kPqLevels : codecs::kPqCentroids,
        .iterations = kIterations};
    std::vector<float> points(n_ * width), weights(n_);
    // The error of a token grows with its gain.
    for (std::size_t t = 0; t < n_; ++t) weights[t] = gains_[t] * gains_[t];
    for (std::uint32_t d = 0; d < dim_; d += width) {
      for (std::size_t t = 0; t < n_; ++t) {
        for (std::uint32_t i = 0; i < width; ++i) {
          points[t * width + i] = gains_[t] > 0.0f ? rows_[t * dim_ + d + i] / gains_[t] : 0.0f;
        }
      }
      std::vector<float>& centroids = centroids_[d / width];
      centroids = kmeans(plan, points, weights, std::move(centroids));
      for (std::uint32_t i = 0; i < width; ++i) write_levels(d, i, width, centroids);
    }
  }

  // The gains that the codec chooses for the table as it is.
  void choose_gains() {
    const codecs::PqTable table = codecs::pq_table(form_, dim_, 0, table_.data());
    std::vector<float> block(std::size_t{dim_} * kBlockTokens);
    for (std::size_t first = 0; first < n_; first += kBlockTokens) {
      const std::size_t count = std::min<std::size_t>(kBlockTokens, n_ - first);
      std::ranges::fill(block, 0.0f);
      for (std::size_t t = 0; t < count; ++t) {
        for (std::uint32_t d = 0; d < dim_; ++d) {
          block[d * kBlockTokens + t] = rows_[(first + t) * dim_ + d] + table.mean[d];
        }
      }
      codecs::PqHead head(table, dim_, block.data());
      if (form_ == codecs::PqForm::kChannels) {
        head.choose_gains(codecs::PqLevels(table, dim_));
      } else {
        head.choose_gains(table);
      }
      for (std::size_t t = 0; t < count; ++t) gains_[first + t] = codecs::small_scale(head.gains()[t]);
    }
  }

  const std::vector<std::byte>& table() const { return table_; }

 private:
  float* means() { return reinterpret_cast<float*>(table_.data()); }
  float* scales() { return means() + dim_; }
  std::uint8_t* levels() { return reinterpret_cast<std::uint8_t*>(scales() + dim_); }

  void take_off_means() {
    for (std::uint32_t d = 0; d < dim_; ++d) {
      double sum = 0;
      for (std::size_t t = 0; t < n_; ++t) sum += rows_[t * dim_ + d];
      means()[d] = static_cast<float>(sum / static_cast<double>(n_));
      for (std::size_t t = 0; t < n_; ++t) rows_[t * dim_ + d] -= means()[d];
    }
  }

  // Coordinate i of the centroids of the sub-vector that begins at channel d.
  void write_levels(std::uint32_t d, std::uint32_t i, std::uint32_t width, const std::vector<float>& centroids) {
    const std::size_t count = centroids.size() / width;
    float largest = 0;
    for (std::size_t c = 0; c < count; ++c) largest = std::max(largest, std::fabs(centroids[c * width + i]));
    scales()[d + i] = largest / codecs::kPqMiddle;
    for (std::size_t c = 0; c < count; ++c) {
      const float share = largest > 0.0f ? centroids[c * width + i] / largest : 0.0f;
      levels()[d * count + c * width + i] = static_cast<std::uint8_t>(std::lround((share + 1.0f) * codecs::kPqMiddle));
    }
  }

  codecs::PqForm form_;
  std::uint32_t dim_;
  std::size_t n_;
  std::vector<float> rows_;  // without the means
  std::vector<float> gains_;
  std::vector<std::vector<float>> centroids_;  // of each sub-vector
  std::vector<std::byte> table_;
};

std::vector<std::byte> train_head(codecs::PqForm form, std::uint32_t dim, std::vector<float> rows) {
  HeadTraining head(form, dim, std::move(rows));
  head.place_centroids();
  for (int round = 1; round < kRounds; ++round) {
    head.choose_gains();
    head.place_centroids();
  }
  return head.table();
}

}  // namespace

std::vector<float> kmeans(const KmeansShape& plan, std::span<const float> points, std::span<const float> weights,
                          std::vector<float> start) {
  const SingleOpenMpThread alone;  // several threads would add up centroids in any order
  faiss::Clustering clustering(static_cast<int>(plan.dimensions), static_cast<int>(plan.centroids), parameters(plan));
  if (start.empty() && plan.dimensions == 1) start = quantiles(points, plan.centroids);
  clustering.centroids = std::move(start);
  faiss::IndexFlatL2 index(static_cast<faiss::Index::idx_t>(plan.dimensions));
  clustering.train(static_cast<faiss::Index::idx_t>(points.size() / plan.dimensions), points.data(), index,
                   balanced(weights).data());
  // Splitting an empty cluster may break the order.
  if (plan.dimensions == 1) std::ranges::sort(clustering.centroids);
  return clustering.centroids;
}

Result<Codebooks> train_codebooks(const Codec& codec, const Digest& model, const KvSamples& samples, ThreadPool& pool,
                                  const std::function<void(std::size_t done, std::size_t total)>& on_progress) {
  const std::optional<codecs::PqForm> form = codecs::pq_form(codec.id);
  if (!form) {
    return fail(ErrorCode::kUnsupported,
                "codec '" + std::string(codec.name) + "' has no codebooks; pq4 and pq4-256 do");
  }
  const PageShape shape = samples.shape();
  std::vector<std::vector<std::byte>> tables(kPageSlots.size() * samples.layers());
  for (auto& table : tables) table.resize(codec.codebook_bytes(shape));
  const std::size_t total = tables.size() * shape.kv_heads;
  std::atomic<std::size_t> done{0};
  pool.run(total, [&](std::size_t item, unsigned thread) {
    const std::size_t table = item / shape.kv_heads;
    const LayerSlot at = LayerSlot::at(table);
    const auto head = static_cast<std::uint32_t>(item % shape.kv_heads);
    std::vector<float> rows = samples.head(static_cast<std::uint32_t>(at.layer), at.slot, head);
    if (codec.basis == BasisKind::kHadamard) hadamard_heads(rows, shape.head_dim);
    const std::vector<std::byte> trained = train_head(*form, shape.head_dim, std::move(rows));
    std::ranges::copy(trained, tables[table].begin() + static_cast<std::ptrdiff_t>(head * trained.size()));
    const std::size_t so_far = done.fetch_add(1) + 1;
    if (thread == 0 && on_progress) on_progress(so_far, total);
  });
  return Codebooks::make(model, codec.id, shape, std::move(tables));
}

}  // namespace cairn::train

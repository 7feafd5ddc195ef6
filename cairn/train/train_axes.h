// SPDX-License-Identifier: Apache-2.0
// The codebooks of codec `axes`: axes of each head, which of them share a code, and the points of each code. After
// OSCAR's rotations from queries and from attention outputs; codes of several axes in place of its scalars of equal
// bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/codec/codebooks.h"
#include "cairn/gguf/gguf.h"
#include "cairn/train/axes_fit.h"
#include "cairn/train/axes_shares.h"
#include "cairn/train/kv_samples.h"

namespace cairn::train {

// Sum of W' W over the output projections W [width, head_dim] of the query heads under each KV head: what an error in
// its values costs, [kv_heads, head_dim, head_dim]. Errors: kNotFound or kUnsupported for a model without
// blk.N.attn_output.weight of that shape; those of GgufTensor::to_f32.
Result<std::vector<double>> output_moments(const GgufFile& file, std::uint32_t layer, std::uint32_t heads,
                                           PageShape shape);

// The same of each of the first `layers` layers.
Result<std::vector<std::vector<double>>> output_moments_of(const std::string& model_path, std::uint32_t layers,
                                                           std::uint32_t heads, PageShape shape);

// Fits axes once and makes codebooks of several sizes on them. Everything is the same for any number of threads.
// Thread-compatible; `samples` and `pool` must outlive it.
class AxesTrainer {
 public:
  using Progress = std::function<void(std::size_t done, std::size_t total)>;

  // value_weights: output_moments() of each layer. Requires: samples with queries, of a shape that check_shape() grants
  // the codec.
  AxesTrainer(const KvSamples& samples, std::span<const std::vector<double>> value_weights, ThreadPool& pool,
              const Progress& on_progress = {});

  // A choice for each head, in the order of layers, slots and KV heads.
  using Picks = std::vector<std::size_t>;
  Picks coarse() const;  // about a bit for all: what each layer loses then says how much it matters
  // The least expected loss at `bits` for each value on the mean of keys and values, gains included. losses: for each
  // layer and slot (LayerSlot) what was lost with coarse() there.
  Picks choose(double bits, std::span<const double> losses) const;
  // True bits for each value, gains included.
  double bits(const Picks& picks) const;

  // Points are placed on at most `max_points` tokens of each head.
  Result<Codebooks> train(const Picks& picks, const Digest& model, std::size_t max_points,
                          const Progress& on_progress = {}) const;

 private:
  std::size_t heads() const { return fits_.size(); }
  std::vector<float> rows(std::size_t head) const;  // of the sample, without the first tokens of windows
  void write_head(std::size_t head, const SharesChoice& choice, std::size_t max_points,
                  std::span<std::byte> table) const;

  const KvSamples& samples_;
  ThreadPool& pool_;
  std::vector<HeadAxes> fits_;
  std::vector<std::vector<SharesChoice>> choices_;
};

}  // namespace cairn::train

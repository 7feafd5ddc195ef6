// SPDX-License-Identifier: Apache-2.0
#include "cairn/train/kv_samples.h"

#include <algorithm>
#include <string>

#include "cairn/kernels/kernels.h"

namespace cairn::train {
namespace {

// Copies what is stored.
class Sampling final : public SignalListener {
 public:
  // `moments` may be empty.
  Sampling(std::vector<std::vector<std::uint16_t>>& rows, std::vector<std::vector<double>>& moments,
           std::uint32_t kv_heads, SignalListener* also)
      : rows_(rows), moments_(moments), kv_heads_(kv_heads), also_(also) {}

  void begin_at(std::size_t first) { first_ = first; }  // the row of position 0

  SignalRequest wants(std::uint32_t layer) const override {
    const SignalRequest theirs = also_ != nullptr ? also_->wants(layer) : SignalRequest{};
    return {.stored = true, .queries = !moments_.empty() || theirs.queries, .softmax = theirs.softmax};
  }
  void stored(const StoredRows& rows) override {
    if (also_ != nullptr) also_->stored(rows);
    const std::size_t width = rows.shape.values_per_token();
    const auto narrow = kernels().narrow[static_cast<std::size_t>(Element::kF16)];
    for (std::size_t i = 0; i < rows.positions.size(); ++i) {
      const std::size_t at = (first_ + static_cast<std::size_t>(rows.positions[i])) * width;
      narrow(rows.k + i * width, width, rows_[LayerSlot{rows.layer, PageSlot::kKeys}.index()].data() + at);
      narrow(rows.v + i * width, width, rows_[LayerSlot{rows.layer, PageSlot::kValues}.index()].data() + at);
    }
  }

  void attended(const AttendedRows& rows) override {
    if (also_ != nullptr) also_->attended(rows);
    if (moments_.empty()) return;
    const std::size_t dim = rows.head_dim, group = rows.heads / kv_heads_;
    for (std::size_t i = 0; i < rows.positions.size() * rows.heads; ++i) {
      const float* q = rows.q + i * dim;
      double* sums = moments_[rows.layer].data() + i % rows.heads / group * dim * dim;
      for (std::size_t a = 0; a < dim; ++a) {
        for (std::size_t b = 0; b < dim; ++b) sums[a * dim + b] += static_cast<double>(q[a] * q[b]);
      }
    }
  }

 private:
  std::vector<std::vector<std::uint16_t>>& rows_;
  std::vector<std::vector<double>>& moments_;
  std::uint32_t kv_heads_;
  SignalListener* also_;
  std::size_t first_ = 0;
};

}  // namespace

KvSamples::KvSamples(std::uint32_t layers, PageShape shape, std::size_t tokens)
    : tokens_(tokens), layers_(layers), shape_(shape), rows_(kPageSlots.size() * layers) {
  for (auto& rows : rows_) rows.resize(tokens * shape.values_per_token());
}

Result<KvSamples> KvSamples::collect(const Engine& engine, std::span<const TokenId> text, const Options& wanted,
                                     const PrefillControl& control) {
  const std::uint32_t window = wanted.window == 0 ? engine.context() : wanted.window;
  const Tokenizer& tokenizer = engine.tokenizer();
  const bool begins = tokenizer.adds_bos() && tokenizer.bos().has_value();
  const std::size_t total = std::min(wanted.max_tokens, text.size());
  if (total < kMinTokens) {
    return fail(ErrorCode::kInvalidArgument,
                std::to_string(total) + " tokens are too few to train on; give at least " + std::to_string(kMinTokens));
  }
  if (window < 2) return fail(ErrorCode::kInvalidArgument, "a window needs at least 2 tokens");
  if (window > engine.context()) {
    return fail(ErrorCode::kTooLong, "a window of " + std::to_string(window) +
                                         " tokens exceeds the model's context of " + std::to_string(engine.context()));
  }

  const PageShape shape = engine.config().each_layer.front().cache.shape;
  if (!shape.has_value_pages()) {
    return fail(ErrorCode::kUnsupported,
                "a model with latent attention takes no codebooks: its values lie in its keys, which raw codecs alone "
                "can hold");
  }
  KvSamples samples(engine.config().layers, shape, total);
  samples.window_ = window;
  if (wanted.queries) {
    const std::size_t square = std::size_t{shape.head_dim} * shape.head_dim;
    samples.moments_.assign(samples.layers_, std::vector<double>(shape.kv_heads * square));
  }
  Sampling sampling(samples.rows_, samples.moments_, shape.kv_heads, wanted.also);
  EngineOptions options{.context = window, .reuse = false, .listener = &sampling};
  CAIRN_TRY(const std::unique_ptr<Engine> sampler, engine.sibling(options));
  const std::size_t windows = (total + window - 1) / window;
  for (std::size_t w = 0; w < windows; ++w) {
    const std::size_t first = w * window, count = std::min<std::size_t>(window, total - first);
    // Where the text has more than is asked for, windows lie apart.
    const std::size_t from = windows == 1 ? 0 : (text.size() - count) * w / (windows - 1);
    std::vector<TokenId> tokens(text.begin() + static_cast<std::ptrdiff_t>(from),
                                text.begin() + static_cast<std::ptrdiff_t>(from + count));
    if (begins) tokens.front() = *tokenizer.bos();
    sampling.begin_at(first);
    Sequence sequence = sampler->open({});
    PrefillControl part{.cancel = control.cancel};
    if (control.on_progress) {
      part.on_progress = [&](std::size_t done, std::size_t) { control.on_progress(first + done, total); };
    }
    CAIRN_TRY_VOID(sampler->prefill(sequence, tokens, part));
  }
  return samples;
}

std::vector<float> KvSamples::head(std::uint32_t layer, PageSlot slot, std::uint32_t kv_head) const {
  const auto& rows = rows_[LayerSlot{layer, slot}.index()];
  std::vector<float> out(tokens_ * shape_.head_dim);
  for (std::size_t t = 0; t < tokens_; ++t) {
    kernels().widen_f16(rows.data() + t * shape_.values_per_token() + std::size_t{kv_head} * shape_.head_dim,
                        shape_.head_dim, out.data() + t * shape_.head_dim);
  }
  return out;
}

std::span<const double> KvSamples::query_moments(std::uint32_t layer, std::uint32_t kv_head) const {
  const std::size_t square = std::size_t{shape_.head_dim} * shape_.head_dim;
  return std::span(moments_[layer]).subspan(kv_head * square, square);
}

}  // namespace cairn::train

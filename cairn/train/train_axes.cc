// SPDX-License-Identifier: Apache-2.0
#include "cairn/train/train_axes.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>

#include "cairn/codec/axes_table.h"
#include "cairn/train/train_codebooks.h"

namespace cairn::train {
namespace {

// The first of a window have keys like no others, and are not what codes are for (the first of all is exact).
constexpr std::size_t kSkipped = 4;

constexpr int kPointIterations = 12;

// Layers that hardly lose count as if they lost this share of what the one does that loses most.
constexpr double kLeastLoss = 0.02;

double bits_of(std::size_t codes, std::size_t heads, std::uint32_t dim) {
  const auto values = static_cast<double>(heads * dim);
  return (4.0 * static_cast<double>(codes) + 8.0 * static_cast<double>(heads)) / values;
}

// Every stride-th row, at most `max` of them.
std::vector<float> thinned(std::span<const float> rows, std::uint32_t dim, std::size_t max) {
  const std::size_t n = rows.size() / dim, step = (n + max - 1) / max;
  std::vector<float> some;
  for (std::size_t t = 0; t < n; t += step) {
    const auto row = rows.subspan(t * dim, dim);
    some.insert(some.end(), row.begin(), row.end());
  }
  return some;
}

}  // namespace

Result<std::vector<double>> output_moments(const GgufFile& file, std::uint32_t layer, std::uint32_t heads,
                                           PageShape shape) {
  const std::string name = "blk." + std::to_string(layer) + ".attn_output.weight";
  const GgufTensor* tensor = file.find_tensor(name);
  if (tensor == nullptr) return fail(ErrorCode::kNotFound, "the model has no tensor " + name);
  CAIRN_TRY(const std::vector<float> weights, tensor->to_f32());
  const std::size_t dim = shape.head_dim, columns = heads * dim, square = dim * dim, group = heads / shape.kv_heads;
  if (columns == 0 || weights.size() % columns != 0) {
    return fail(ErrorCode::kUnsupported, "tensor " + name + " does not have " + std::to_string(columns) + " columns");
  }
  std::vector<double> sums(shape.kv_heads * square);
  for (std::size_t row = 0; row < weights.size(); row += columns) {
    for (std::size_t h = 0; h < heads; ++h) {
      const float* w = weights.data() + row + h * dim;
      double* to = sums.data() + h / group * square;
      for (std::size_t a = 0; a < dim; ++a) {
        for (std::size_t b = 0; b < dim; ++b) to[a * dim + b] += static_cast<double>(w[a] * w[b]);
      }
    }
  }
  return sums;
}

Result<std::vector<std::vector<double>>> output_moments_of(const std::string& model_path, std::uint32_t layers,
                                                           std::uint32_t heads, PageShape shape) {
  CAIRN_TRY(const GgufFile file, GgufFile::open(model_path));
  std::vector<std::vector<double>> moments;
  for (std::uint32_t layer = 0; layer < layers; ++layer) {
    CAIRN_TRY(moments.emplace_back(), output_moments(file, layer, heads, shape));
  }
  return moments;
}

AxesTrainer::AxesTrainer(const KvSamples& samples, std::span<const std::vector<double>> value_weights, ThreadPool& pool,
                         const Progress& on_progress)
    : samples_(samples), pool_(pool) {
  const PageShape shape = samples.shape();
  const std::size_t square = std::size_t{shape.head_dim} * shape.head_dim;
  fits_.resize(kPageSlots.size() * samples.layers() * shape.kv_heads);
  choices_.resize(fits_.size());
  std::atomic<std::size_t> done{0};
  pool.run(fits_.size(), [&](std::size_t item, unsigned thread) {
    const LayerSlot slot = LayerSlot::at(item / shape.kv_heads);
    const auto layer = static_cast<std::uint32_t>(slot.layer), head = static_cast<std::uint32_t>(item % shape.kv_heads);
    const bool keys = slot.slot == PageSlot::kKeys;
    const std::span<const double> weights =
        keys ? samples.query_moments(layer, head) : std::span(value_weights[layer]).subspan(head * square, square);
    fits_[item] = fit_axes(rows(item), shape.head_dim, weights, keys);
    choices_[item] = shares_choices(fits_[item].variance, slot.slot);
    const std::size_t so_far = done.fetch_add(1) + 1;
    if (thread == 0 && on_progress) on_progress(so_far, fits_.size());
  });
}

std::vector<float> AxesTrainer::rows(std::size_t head) const {
  const PageShape shape = samples_.shape();
  const LayerSlot slot = LayerSlot::at(head / shape.kv_heads);
  const std::vector<float> all = samples_.head(static_cast<std::uint32_t>(slot.layer), slot.slot,
                                               static_cast<std::uint32_t>(head % shape.kv_heads));
  std::vector<float> rows;
  for (std::size_t t = 0; t < samples_.tokens(); ++t) {
    if (samples_.place(t) < kSkipped) continue;
    const auto row = std::span(all).subspan(t * shape.head_dim, shape.head_dim);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  return rows;
}

AxesTrainer::Picks AxesTrainer::coarse() const {
  Picks picks;
  for (const auto& choices : choices_) picks.push_back(coarse_choice(choices));
  return picks;
}

AxesTrainer::Picks AxesTrainer::choose(double bits, std::span<const double> losses) const {
  const PageShape shape = samples_.shape();
  const double floor = kLeastLoss * *std::ranges::max_element(losses);
  std::vector<HeadChoices> to_choose(heads());
  for (std::size_t unit = 0; unit < losses.size(); ++unit) {
    double coarse = 0;
    for (std::size_t h = 0; h < shape.kv_heads; ++h) {
      const auto& choices = choices_[unit * shape.kv_heads + h];
      coarse += choices[coarse_choice(choices)].distortion;
    }
    for (std::size_t h = 0; h < shape.kv_heads; ++h) {
      const std::size_t head = unit * shape.kv_heads + h;
      to_choose[head] = {choices_[head], std::max({losses[unit], floor, 1e-12}) / coarse};
    }
  }
  const double values = static_cast<double>(heads()) * shape.head_dim;
  const double codes = (bits * values - 8.0 * static_cast<double>(heads())) / 4.0;
  return choose_shares(to_choose, static_cast<std::size_t>(std::max(codes, 0.0)));
}

double AxesTrainer::bits(const Picks& picks) const {
  std::size_t codes = 0;
  for (std::size_t h = 0; h < heads(); ++h) codes += choices_[h][picks[h]].codes;
  return bits_of(codes, heads(), samples_.shape().head_dim);
}

void AxesTrainer::write_head(std::size_t head, const SharesChoice& choice, std::size_t max_points,
                             std::span<std::byte> table) const {
  const PageShape shape = samples_.shape();
  const LayerSlot slot = LayerSlot::at(head / shape.kv_heads);
  const std::uint32_t dim = shape.head_dim, block = codecs::axes_block(slot.slot);
  const auto kv_head = static_cast<std::uint32_t>(head % shape.kv_heads);
  HeadAxes fit = fits_[head];
  fit.reorder(choice.axes);
  std::ranges::copy(fit.matrices, reinterpret_cast<float*>(table.data()) + kv_head * fit.matrices.size());
  const codecs::AxesPlaces at = codecs::AxesPlaces::of(shape, kv_head);
  std::ranges::copy(std::as_bytes(std::span(choice.shares)), table.begin() + static_cast<std::ptrdiff_t>(at.shares));
  std::ranges::copy(fit.mean, reinterpret_cast<float*>(table.data() + at.mean));
  std::ranges::copy(fit.weight, reinterpret_cast<float*>(table.data() + at.weight));
  auto* scale = reinterpret_cast<float*>(table.data() + at.scale);
  auto* levels = reinterpret_cast<std::uint8_t*>(table.data() + at.levels);

  const std::vector<float> units = fit.units(thinned(rows(head), dim, max_points));
  const std::size_t n = units.size() / dim;
  const std::vector<float> ones(n, 1.0f);
  std::uint32_t first = 0;
  for (std::uint32_t kind = 0; kind < kShareKinds; ++kind) {
    const std::uint32_t width = 1u << kind;
    std::vector<float> points(n * width);
    for (std::uint32_t b = 0; b < choice.shares[kind]; ++b, first += block * width) {
      for (std::uint32_t j = 0; j < block; ++j) {
        for (std::size_t t = 0; t < n; ++t) {
          for (std::uint32_t i = 0; i < width; ++i) points[t * width + i] = units[t * dim + first + j + i * block];
        }
        const std::vector<float> centroids = kmeans(
            {.dimensions = width, .centroids = codecs::kAxesLevels, .iterations = kPointIterations}, points, ones);
        for (std::uint32_t i = 0; i < width; ++i) {
          const std::uint32_t c = first + j + i * block;
          float largest = 0;
          for (std::uint32_t p = 0; p < codecs::kAxesLevels; ++p)
            largest = std::max(largest, std::fabs(centroids[p * width + i]));
          scale[c] = largest / codecs::kAxesMiddle / fit.weight[c];
          for (std::uint32_t p = 0; p < codecs::kAxesLevels; ++p) {
            const float share = largest > 0.0f ? centroids[p * width + i] / largest : 0.0f;
            levels[c * codecs::kAxesLevels + p] =
                static_cast<std::uint8_t>(std::lround((share + 1.0f) * codecs::kAxesMiddle));
          }
        }
      }
    }
  }
}

Result<Codebooks> AxesTrainer::train(const Picks& picks, const Digest& model, std::size_t max_points,
                                     const Progress& on_progress) const {
  const PageShape shape = samples_.shape();
  std::vector<std::vector<std::byte>> tables(heads() / shape.kv_heads);
  for (auto& table : tables) table.resize(codecs::axes_table_bytes(shape));
  std::atomic<std::size_t> done{0};
  pool_.run(heads(), [&](std::size_t head, unsigned thread) {
    write_head(head, choices_[head][picks[head]], max_points, tables[head / shape.kv_heads]);
    const std::size_t so_far = done.fetch_add(1) + 1;
    if (thread == 0 && on_progress) on_progress(so_far, heads());
  });
  return Codebooks::make(model, codecs::kAxesId, shape, std::move(tables));
}

}  // namespace cairn::train

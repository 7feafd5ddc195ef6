// SPDX-License-Identifier: Apache-2.0
#include "cairn/train/cold_fit.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>

#include "cairn/codec/cold_form.h"
#include "cairn/train/symmetric.h"

namespace cairn::train {
namespace {

// Steps of size 1: of keys in the scores of queries, of values in their own spread under the output projection. Where
// both cost alike in divergence per bit (SmolLM2).
constexpr double kKeyStep = 0.15, kValueStep = 1.0;
// Of a window, which are not coded and have keys like no others.
constexpr std::size_t kExactTokens = 1;
// Ridge of the regression, in tokens.
constexpr double kRidge = 300;

constexpr std::int32_t kMiddle = (rans::kSymbols - 1) / 2;
constexpr std::uint32_t kEscape = rans::kSymbols - 1;

// The bits of a code that stands among the escaped ones.
double escaped_bits(std::int32_t code) {
  const auto value = static_cast<std::uint32_t>(std::abs(code)) * 2;
  double bits = 8;
  for (std::uint32_t rest = value; rest >= 0x80; rest >>= 7) bits += 8;
  return bits;
}

Matrix block_diagonal(std::span<const Matrix> blocks) {
  const Eigen::Index dim = blocks.front().rows(), heads = static_cast<Eigen::Index>(blocks.size());
  Matrix all = Matrix::Zero(heads * dim, heads * dim);
  for (Eigen::Index h = 0; h < heads; ++h) all.block(h * dim, h * dim, dim, dim) = blocks[static_cast<std::size_t>(h)];
  return all;
}

// Rows [tokens, kv_heads, head_dim].
std::vector<float> rows_of(const KvSamples& samples, std::uint32_t layer, PageSlot slot) {
  const PageShape shape = samples.shape();
  const std::size_t width = shape.values_per_token();
  std::vector<float> rows(samples.tokens() * width);
  for (std::uint32_t h = 0; h < shape.kv_heads; ++h) {
    const std::vector<float> head = samples.head(layer, slot, h);
    for (std::size_t t = 0; t < samples.tokens(); ++t) {
      std::copy_n(head.data() + t * shape.head_dim, shape.head_dim, rows.data() + t * width + h * shape.head_dim);
    }
  }
  return rows;
}

// What tells log2 of the attention that a key draws from its distance to the mean: a ridge regression on channels of
// unit spread.
Eigen::VectorXd regress(const Matrix& centred, std::span<const double> target, std::span<const std::size_t> tokens) {
  const Eigen::Index n = centred.cols(), rows = static_cast<Eigen::Index>(tokens.size());
  if (rows == 0) return Eigen::VectorXd::Zero(n);
  Matrix x(rows, n);
  Eigen::VectorXd y(rows);
  for (Eigen::Index r = 0; r < rows; ++r) {
    const std::size_t t = tokens[static_cast<std::size_t>(r)];
    x.row(r) = centred.row(static_cast<Eigen::Index>(t));
    y[r] = target[t];
  }
  const Eigen::RowVectorXd mean = x.colwise().mean();
  x.rowwise() -= mean;
  y.array() -= y.mean();
  const Eigen::RowVectorXd spread = (x.array().square().colwise().mean().sqrt() + 1e-6).matrix();
  x.array().rowwise() /= spread.array();
  Matrix normal = x.transpose() * x;
  normal.diagonal().array() += kRidge;
  const Eigen::VectorXd weights = normal.ldlt().solve(x.transpose() * y);
  return weights.array() / spread.transpose().array();
}

}  // namespace

ColdTrainer::ColdTrainer(const KvSamples& samples, const ColdSignals& signals, std::span<const LayerSpec> layers,
                         std::span<const std::vector<double>> value_weights, ThreadPool& pool,
                         const Progress& on_progress)
    : shape_(samples.shape()), pool_(pool), units_(kPageSlots.size() * layers.size()) {
  std::atomic<std::size_t> done{0};
  pool.run(layers.size(), [&](std::size_t layer, unsigned thread) {
    fit(layer, samples, signals, layers[layer], value_weights[layer]);
    const std::size_t so_far = done.fetch_add(1) + 1;
    if (thread == 0 && on_progress) on_progress(so_far, layers.size());
  });
}

void ColdTrainer::fit(std::size_t layer, const KvSamples& samples, const ColdSignals& signals, const LayerSpec& spec,
                      std::span<const double> value_weights) {
  const auto number = static_cast<std::uint32_t>(layer);
  const auto n = static_cast<Eigen::Index>(shape_.values_per_token()), dim = static_cast<Eigen::Index>(shape_.head_dim);
  const std::size_t tokens = samples.tokens();
  std::vector<std::size_t> own, known;  // tokens that are fitted to; those whose attention is known
  const std::vector<double> drawn = signals.saliency(number);
  for (std::size_t t = 0; t < tokens; ++t) {
    if (samples.place(t) < kExactTokens) continue;
    own.push_back(t);
    if (!std::isnan(drawn[t])) known.push_back(t);
  }
  std::vector<double> scales(tokens, 1.0);
  std::vector<std::uint8_t> symbols(tokens, static_cast<std::uint8_t>(cold::kScaleMiddle));
  for (const PageSlot slot : kPageSlots) {
    Unit& unit = units_[LayerSlot{layer, slot}.index()];
    const bool keys = slot == PageSlot::kKeys;
    std::vector<float> rows = rows_of(samples, number, slot);
    if (keys) {
      std::vector<std::int32_t> positions;
      for (std::size_t t = 0; t < tokens; ++t) positions.push_back(static_cast<std::int32_t>(samples.place(t)));
      ColdRotation(spec.rope).undo(positions, shape_.head_dim, rows);
    }
    Matrix centred = FloatRows(rows.data(), static_cast<Eigen::Index>(tokens), n).cast<double>();
    Eigen::RowVectorXd mean = Eigen::RowVectorXd::Zero(n);
    for (const std::size_t t : own) mean += centred.row(static_cast<Eigen::Index>(t));
    mean /= static_cast<double>(own.size());
    centred.rowwise() -= mean;

    std::vector<Root> roots;
    std::vector<Matrix> root, inverse;
    for (std::uint32_t h = 0; h < shape_.kv_heads; ++h) {
      const std::size_t square = static_cast<std::size_t>(dim * dim);
      const std::vector<double> moments = keys ? signals.query_moments(number, h) : std::vector<double>{};
      const double* weights = keys ? moments.data() : value_weights.data() + h * square;
      const Root of_head = root_of(Eigen::Map<const Matrix>(weights, dim, dim));
      root.push_back(of_head.root);
      inverse.push_back(of_head.inverse);
    }
    const Matrix whiten = block_diagonal(root), unwhiten = block_diagonal(inverse);

    unit.saliency.assign(static_cast<std::size_t>(n), 0.0f);
    if (keys) {
      const Eigen::VectorXd saliency = regress(centred, drawn, known);
      const Eigen::VectorXd told = centred * saliency;
      for (Eigen::Index d = 0; d < n; ++d) unit.saliency[static_cast<std::size_t>(d)] = static_cast<float>(saliency[d]);
      for (std::size_t t = 0; t < tokens; ++t) {
        const std::uint32_t symbol = cold::scale_symbol(static_cast<float>(told[static_cast<Eigen::Index>(t)]));
        symbols[t] = static_cast<std::uint8_t>(symbol);
        scales[t] = cold::scale_of(symbol);
      }
    }
    Matrix weighted = centred * whiten;
    double energy = 0;
    for (const std::size_t t : own) energy += weighted.row(static_cast<Eigen::Index>(t)).squaredNorm();
    const double spread = std::sqrt(energy / static_cast<double>(own.size() * static_cast<std::size_t>(n)));
    const double size = keys ? kKeyStep : std::max(kValueStep * spread, 1e-12);
    Matrix fitted(static_cast<Eigen::Index>(own.size()), n);
    for (std::size_t i = 0; i < own.size(); ++i) {
      fitted.row(static_cast<Eigen::Index>(i)) = weighted.row(static_cast<Eigen::Index>(own[i])) * scales[own[i]];
    }
    const Matrix axes = eigenvectors(fitted.transpose() * fitted / static_cast<double>(own.size()));
    const Matrix forward = whiten * axes / size, back = axes.transpose() * unwhiten * size;
    const Matrix on_axes = fitted * axes / size;
    unit.forward.assign(forward.data(), forward.data() + forward.size());
    unit.back.assign(back.data(), back.data() + back.size());
    for (Eigen::Index d = 0; d < n; ++d) unit.mean.push_back(static_cast<float>(mean[d]));
    unit.on_axes.resize(static_cast<std::size_t>(on_axes.size()));
    std::transform(on_axes.data(), on_axes.data() + on_axes.size(), unit.on_axes.begin(),
                   [](double value) { return static_cast<float>(value); });
    for (const std::size_t t : own) unit.scales.push_back(symbols[t]);
  }
}

ColdTrainer::Coded ColdTrainer::code(const Unit& unit, double step) const {
  const std::size_t n = shape_.values_per_token(), tokens = unit.scales.size(), runs = 1 + n / cold::kRunAxes;
  std::vector<std::array<double, rans::kSymbols>> seen(runs);
  std::vector<double> beyond(n);     // bits of escaped codes, by axis
  std::vector<std::size_t> some(n);  // codes that are not zero, by axis
  double excess = 0, codes = 0;
  const auto inverse = static_cast<float>(1.0 / step);
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t i = 0; i < n; ++i) {
      const float value = unit.on_axes[t * n + i] * inverse, magnitude = std::floor(std::fabs(value) + 0.5f);
      if (magnitude == 0.0f) {
        ++seen[1 + i / cold::kRunAxes][static_cast<std::size_t>(kMiddle)];
        continue;
      }
      ++some[i];
      excess += static_cast<double>(std::fabs(value) - magnitude);
      codes += 1;
      const auto code = static_cast<std::int32_t>(std::copysign(std::min(magnitude, 1e6f), value));
      const bool fits = std::abs(code) <= kMiddle;
      ++seen[1 + i / cold::kRunAxes][fits ? static_cast<std::size_t>(code + kMiddle) : kEscape];
      if (!fits) beyond[i] += escaped_bits(code);
    }
  }
  for (std::int32_t halves = cold::kLeastScale; halves <= cold::kGreatestScale; ++halves) {
    seen[0][static_cast<std::size_t>(cold::kScaleMiddle + halves)] = 1e-3;
  }
  for (const std::uint8_t scale : unit.scales) seen[0][scale] += 1;

  // An axis on which less than one code in a thousand is not zero costs more to keep than to forget.
  constexpr double kLeastShare = 1e-3;
  Coded coded;
  for (std::size_t i = 0; i < n; ++i) {
    if (static_cast<double>(some[i]) < kLeastShare * static_cast<double>(tokens)) continue;
    coded.axes = (static_cast<std::uint32_t>(i) / cold::kAxesUnit + 1) * cold::kAxesUnit;
  }
  coded.shift = codes > 0 ? static_cast<float>(std::clamp(excess / codes, -0.5, 0.5)) : 0.0f;
  coded.counts.resize(runs * rans::kSymbols);
  for (std::size_t run = 0; run < 1 + coded.axes / cold::kRunAxes; ++run) {
    const auto frequencies = rans::frequencies_of(seen[run], run == 0 ? cold::kScaleMiddle : kEscape);
    std::ranges::copy(frequencies, coded.counts.begin() + static_cast<std::ptrdiff_t>(run * rans::kSymbols));
    for (std::size_t s = 0; s < rans::kSymbols; ++s) {
      if (frequencies[s] != 0)
        coded.bits -= seen[run][s] * std::log2(static_cast<double>(frequencies[s]) / rans::kTotal);
    }
  }
  for (std::size_t i = 0; i < coded.axes; ++i) coded.bits += beyond[i];
  coded.bits += static_cast<double>(tokens) * 8.0 * ColdForm::kPartHeadBytes / kBlockTokens;
  return coded;
}

double ColdTrainer::bits(double step) const {
  std::vector<double> bits(units_.size());
  pool_.run(units_.size(), [&](std::size_t i, unsigned) { bits[i] = code(units_[i], step).bits; });
  double values = 0;
  for (const Unit& unit : units_) values += static_cast<double>(unit.scales.size() * shape_.values_per_token());
  return std::accumulate(bits.begin(), bits.end(), 0.0) / values;
}

double ColdTrainer::step_for(double wanted) const {
  double low = 1.0 / 64, high = 64;  // bits fall with the size of steps
  for (int i = 0; i < 16; ++i) {
    const double middle = std::sqrt(low * high);
    (bits(middle) > wanted ? low : high) = middle;
  }
  return high;
}

Result<Codebooks> ColdTrainer::train(double step, const Digest& model) const {
  const cold::TablePlaces at = cold::TablePlaces::of(shape_);
  const std::size_t n = shape_.values_per_token();
  std::vector<std::vector<std::byte>> tables(units_.size());
  pool_.run(units_.size(), [&](std::size_t i, unsigned) {
    const Unit& unit = units_[i];
    const Coded coded = code(unit, step);
    std::vector<std::byte>& table = tables[i];
    table.resize(at.end);
    const auto put = [&](std::size_t to, auto value) { std::memcpy(table.data() + to, &value, sizeof value); };
    put(0, coded.axes);
    put(sizeof coded.axes, coded.shift);
    std::memcpy(table.data() + at.mean, unit.mean.data(), n * sizeof(float));
    std::memcpy(table.data() + at.saliency, unit.saliency.data(), n * sizeof(float));
    for (std::size_t d = 0; d < n; ++d) {
      for (std::size_t a = 0; a < coded.axes; ++a) {
        put(at.forward + (d * coded.axes + a) * sizeof(float), static_cast<float>(unit.forward[d * n + a] / step));
        put(at.back + (a * n + d) * sizeof(float), static_cast<float>(unit.back[a * n + d] * step));
      }
    }
    std::memcpy(table.data() + at.counts, coded.counts.data(), coded.counts.size() * sizeof(std::uint16_t));
  });
  return Codebooks::make(model, cold::kTableId, shape_, std::move(tables));
}

}  // namespace cairn::train

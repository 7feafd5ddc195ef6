// SPDX-License-Identifier: Apache-2.0
#include "cairn/train/cold_fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "cairn/codec/cold_form.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn::train {
namespace {

constexpr std::uint32_t kWindow = 256;
constexpr std::size_t kTokens = 2048;

struct Listened {
  std::unique_ptr<Engine> engine;
  std::vector<LayerSpec> layers;
  std::unique_ptr<ColdSignals> signals;
  std::unique_ptr<KvSamples> samples;
  std::vector<std::vector<double>> weights;
};

Listened listen() {
  Listened listened;
  listened.engine = load_tiny(long_context_model(), {.threads = 2}).value();
  for (const auto& layer : listened.engine->config().each_layer) listened.layers.push_back(layer.cache);
  listened.signals = std::make_unique<ColdSignals>(listened.layers, kTokens, kWindow);
  listened.samples = std::make_unique<KvSamples>(
      KvSamples::collect(*listened.engine, random_prompt(5, kTokens),
                         {.max_tokens = kTokens, .window = kWindow, .also = listened.signals.get()})
          .value());
  const PageShape shape = listened.layers.front().shape;
  std::vector<double> unit(shape.values_per_token() * shape.head_dim);
  for (std::size_t i = 0; i < shape.values_per_token(); ++i) unit[i * shape.head_dim + i % shape.head_dim] = 1;
  listened.weights.assign(listened.layers.size(), unit);
  return listened;
}

TEST(ColdTrainer, HitsTheBitsAndIsTheSameForAnyNumberOfThreads) {
  const Listened listened = listen();
  ThreadPool one(1), two(2);
  const ColdTrainer trainer(*listened.samples, *listened.signals, listened.layers, listened.weights, one);
  const ColdTrainer same(*listened.samples, *listened.signals, listened.layers, listened.weights, two);
  EXPECT_GT(trainer.bits(0.5), trainer.bits(1.0));
  EXPECT_GT(trainer.bits(1.0), trainer.bits(4.0));
  const double step = trainer.step_for(3.0);
  EXPECT_LE(trainer.bits(step), 3.0);
  EXPECT_GT(trainer.bits(step), 2.95);
  const Codebooks tables = trainer.train(step, Digest{}).value();
  EXPECT_EQ(tables.digest(), same.train(same.step_for(3.0), Digest{}).value().digest());
  EXPECT_TRUE(ColdForm::make(std::make_shared<const Codebooks>(tables)));
}

// Blocks of the text that was fitted to take the bits that were promised, and finer steps are nearer to it.
TEST(ColdTrainer, KeepsItsPromiseOnBlocksOfTheText) {
  const Listened listened = listen();
  ThreadPool pool(2);
  const ColdTrainer trainer(*listened.samples, *listened.signals, listened.layers, listened.weights, pool);
  const PageShape shape = listened.layers.front().shape;
  const std::size_t width = shape.values_per_token();
  double last_error = 1;  // of values, on their size
  for (const double bits : {2.0, 4.0, 6.0}) {
    auto tables = std::make_shared<const Codebooks>(trainer.train(trainer.step_for(bits), Digest{}).value());
    const auto form = ColdForm::make(tables).value();
    double bytes = 0, values = 0, error = 0, square = 0;
    for (std::size_t first = 64; first < kTokens; first += kWindow) {  // the second block of every window
      std::vector<float> k(kBlockTokens * width), v(k.size());
      for (const PageSlot slot : kPageSlots) {
        for (std::uint32_t h = 0; h < shape.kv_heads; ++h) {
          const auto head = listened.samples->head(1, slot, h);
          for (std::size_t t = 0; t < kBlockTokens; ++t) {
            std::copy_n(head.data() + (first + t) * shape.head_dim, shape.head_dim,
                        (slot == PageSlot::kKeys ? k : v).data() + t * width + h * shape.head_dim);
          }
        }
      }
      std::vector<std::int32_t> positions(kBlockTokens);
      std::iota(positions.begin(), positions.end(), 64);
      const std::vector<float> exact = v;
      const ColdParts parts =
          form->encode(1, ColdRotation(listened.layers[1].rope), {.positions = positions, .first = false}, k, v);
      bytes += static_cast<double>(parts.keys.size() + parts.values.size());
      values += 2.0 * static_cast<double>(k.size());
      for (std::size_t i = 0; i < v.size(); ++i) {
        error += (v[i] - exact[i]) * double{v[i] - exact[i]};
        square += exact[i] * double{exact[i]};
      }
    }
    EXPECT_NEAR(8 * bytes / values, bits, 0.25 * bits);  // of one layer; the promise is for all
    EXPECT_LT(error / square, last_error);
    last_error = error / square;
  }
  EXPECT_LT(last_error, 3e-3);
}

// One head, hand-made: queries all point at the key of token 7.
TEST(ColdSignals, FindsWhatDrawsAttention) {
  constexpr std::uint32_t kDim = 16;
  const LayerSpec layer{.shape = {.kv_heads = 1, .head_dim = kDim}};
  ColdSignals signals({&layer, 1}, kWindow, kWindow);
  std::vector<float> keys(kWindow * kDim, 0.1f), queries(kWindow * kDim, 1.0f), softmax;
  for (std::uint32_t d = 0; d < kDim; ++d) keys[7 * kDim + d] = 0.3f;
  std::vector<std::int32_t> positions(kWindow);
  std::iota(positions.begin(), positions.end(), 0);
  for (std::uint32_t t = 0; t < kWindow; ++t) {
    float sum = 0;
    for (std::uint32_t s = 0; s <= t; ++s) sum += std::exp((s == 7 ? 4.8f : 1.6f) - 4.8f);
    softmax.insert(softmax.end(), {4.8f, sum});
  }
  signals.stored({.layer = 0, .shape = layer.shape, .positions = positions, .k = keys.data()});
  signals.attended({.layer = 0,
                    .heads = 1,
                    .head_dim = kDim,
                    .positions = positions,
                    .q = queries.data(),
                    .softmax = softmax.data()});
  const std::vector<double> saliency = signals.saliency(0);
  EXPECT_NEAR(saliency[7] - saliency[8], 3.2 / std::log(2.0), 0.1);  // e to the distance of scores
  EXPECT_NEAR(saliency[8], saliency[9], 1e-9);
  EXPECT_TRUE(std::isnan(saliency[kWindow - 1]));
  const std::vector<double> moments = signals.query_moments(0, 0);
  for (const double moment : moments) EXPECT_NEAR(moment, 1.0, 1e-6);
}

}  // namespace
}  // namespace cairn::train

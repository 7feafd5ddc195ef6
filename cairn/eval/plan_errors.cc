// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/plan_errors.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "cairn/attention/signals.h"
#include "cairn/cache/kv_cache.h"
#include "cairn/cache/pass.h"
#include "cairn/eval/text_run.h"

namespace cairn {
namespace {

// Queries, keys and values of one layer, [tokens, ...], as the cache gets them.
struct LayerVectors {
  std::vector<float> q, k, v;
};

class Capture final : public SignalListener {
 public:
  explicit Capture(const ModelConfig& config) : layers_(config.layers) {}

  void begin(std::size_t tokens) {
    for (LayerVectors& layer : layers_) layer = {};
    tokens_ = tokens;
  }
  const LayerVectors& layer(std::uint32_t l) const { return layers_[l]; }

  SignalRequest wants(std::uint32_t) const override { return {.stored = true, .queries = true}; }
  void stored(const StoredRows& rows) override {
    const std::size_t width = rows.shape.values_per_token();
    put(layers_[rows.layer].k, rows.positions, rows.k, width);
    put(layers_[rows.layer].v, rows.positions, rows.v, width);
  }
  void attended(const AttendedRows& rows) override {
    put(layers_[rows.layer].q, rows.positions, rows.q, std::size_t{rows.heads} * rows.head_dim);
  }

 private:
  void put(std::vector<float>& to, std::span<const std::int32_t> positions, const float* rows, std::size_t width) {
    to.resize(tokens_ * width);
    for (const std::int32_t position : positions) {
      std::copy_n(rows, width, to.begin() + position * static_cast<std::ptrdiff_t>(width));
      rows += width;
    }
  }
  std::vector<LayerVectors> layers_;
  std::size_t tokens_ = 0;
};

// The attention outputs of one layer on a cache of its own.
class OneLayer {
 public:
  OneLayer(const ModelConfig& config, const Codec* raw, ThreadPool& pool)
      : raw_(raw),
        shape_{config.kv_heads, config.head_dim},
        q_width_(std::size_t{config.heads} * config.head_dim),
        passes_(config.heads, pool) {}

  // `layer` is the one that the vectors and the codebooks are of.
  Result<std::vector<float>> outputs(const LayerVectors& vectors, LayerPlan codecs, std::uint32_t layer,
                                     const std::shared_ptr<const Codebooks>& codebooks) {
    // Codebooks are found by layer, so the layers before it are there too; nothing is stored in them.
    KvCacheOptions options{.plan = {}, .layers = like_layers(layer + 1, shape_), .root = {}};
    options.plan.layers.assign(layer, {raw_, raw_});
    options.plan.layers.push_back(codecs);
    if (codecs.keys->needs_codebook || codecs.values->needs_codebook) options.plan.codebooks = codebooks;
    const std::size_t tokens = vectors.k.size() / shape_.values_per_token();
    options.budget_bytes = (tokens + 2 * kBlockTokens) * shape_.values_per_token() * 16 * (layer + 1) + (1u << 20);
    CAIRN_TRY(const auto cache, KvCache::create(options));
    Sequence sequence = cache->open({});
    std::vector<float> out(vectors.q.size());
    std::vector<std::int32_t> positions(tokens);
    std::iota(positions.begin(), positions.end(), 0);
    std::vector<std::uint32_t> rows(kBlockTokens);
    std::iota(rows.begin(), rows.end(), 0u);
    const std::vector<TokenId> ids(kBlockTokens);
    for (std::size_t first = 0, count = 0; first < tokens; first += count) {
      count = std::min<std::size_t>(kBlockTokens, tokens - first);
      const PassRows part{&sequence, std::span(positions).subspan(first, count)};
      CAIRN_TRY(Pass pass, passes_.begin({&part, 1}));
      pass.append(layer, vectors.k.data() + first * shape_.values_per_token(),
                  vectors.v.data() + first * shape_.values_per_token());
      CAIRN_TRY_VOID(pass.attend({.layer = layer,
                                  .rows = std::span(rows).first(count),
                                  .q = vectors.q.data() + first * q_width_,
                                  .out = out.data() + first * q_width_}));
      CAIRN_TRY_VOID(pass.commit(std::span(ids).first(count)));
    }
    return out;
  }

 private:
  const Codec* raw_;
  PageShape shape_;
  std::size_t q_width_;
  PassRunner passes_;
};

double squared_distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - static_cast<double>(b[i])) * (a[i] - b[i]);
  return sum;
}

double squared_length(std::span<const float> a) {
  double sum = 0;
  for (const float x : a) sum += static_cast<double>(x) * x;
  return sum;
}

// Each judged engine has a cache of its own, so that many plans are measured in several runs.
constexpr std::size_t kPlansAtOnce = 16;

double mean_of(std::span<const WindowScores> windows) {
  double sum = 0;
  std::size_t tokens = 0;
  for (const WindowScores& window : windows) {
    for (const TokenScore& score : window) sum += score.kl;
    tokens += window.size();
  }
  return sum / static_cast<double>(tokens);
}

}  // namespace

Result<UnitErrors> measure_unit_errors(const Engine& family, std::span<const std::vector<TokenId>> prompts,
                                       std::span<const Codec* const> candidates,
                                       std::shared_ptr<const Codebooks> codebooks, const UnitErrorsControl& control) {
  const ModelConfig& config = family.config();
  if (prompts.empty()) return fail(ErrorCode::kInvalidArgument, "there are no prompts to measure on");
  CAIRN_TRY(const Codec* exact, find_codec("raw_f16"));
  Capture capture(config);
  EngineOptions options;
  options.listener = &capture;
  options.reuse = false;
  CAIRN_TRY(const auto engine, family.sibling(options));
  OneLayer one_layer(config, exact, engine->pool());
  UnitErrors errors(kPageSlots.size() * config.layers, std::vector<double>(candidates.size()));
  std::vector<double> lengths(config.layers);
  std::size_t done = 0;
  for (const std::vector<TokenId>& prompt : prompts) {
    capture.begin(prompt.size());
    Sequence sequence = engine->open({});
    CAIRN_TRY(const auto logits, engine->prefill(sequence, prompt));
    static_cast<void>(logits);
    for (std::uint32_t l = 0; l < config.layers; ++l) {
      if (control.cancel != nullptr && control.cancel->load(std::memory_order_relaxed)) {
        return fail(ErrorCode::kCancelled, "interrupted while errors were measured");
      }
      const LayerVectors& vectors = capture.layer(l);
      CAIRN_TRY(const std::vector<float> expected, one_layer.outputs(vectors, {exact, exact}, l, codebooks));
      lengths[l] += squared_length(expected);
      for (std::size_t c = 0; c < candidates.size(); ++c) {
        if (candidates[c] == exact) continue;
        for (const PageSlot slot : kPageSlots) {
          const LayerPlan codecs =
              slot == PageSlot::kKeys ? LayerPlan{candidates[c], exact} : LayerPlan{exact, candidates[c]};
          CAIRN_TRY(const std::vector<float> out, one_layer.outputs(vectors, codecs, l, codebooks));
          errors[LayerSlot{l, slot}.index()][c] += squared_distance(out, expected);
        }
      }
      if (control.on_progress) control.on_progress(++done, prompts.size() * config.layers);
    }
  }
  for (std::size_t u = 0; u < errors.size(); ++u) {
    const double length = lengths[LayerSlot::at(u).layer];
    for (double& error : errors[u]) error = length > 0 ? error / length : 0.0;
  }
  return errors;
}

Result<std::vector<double>> PlanDivergence::mean_kl(
    std::span<const CodecPlan> plans, const Windows& windows,
    const std::function<void(std::size_t, std::size_t)>& on_progress) const {
  std::vector<double> divergences;
  CAIRN_TRY(const auto exact, JudgedEngine::make(engine_, EvalRecipe{}, options_));
  const std::size_t total = plans.size() * windows.size();
  for (std::size_t first = 0; first < plans.size(); first += kPlansAtOnce) {
    const std::size_t count = std::min(kPlansAtOnce, plans.size() - first);
    std::vector<std::unique_ptr<JudgedEngine>> judged;
    for (const CodecPlan& plan : plans.subspan(first, count)) {
      EvalRecipe recipe;
      recipe.plan = std::make_shared<const CodecPlan>(plan);
      recipe.text = plan.canonical();
      CAIRN_TRY(judged.emplace_back(), JudgedEngine::make(engine_, recipe, options_));
    }
    TextRunControl control{.on_progress = {}, .cancel = &cancel_};
    if (on_progress) {
      control.on_progress = [&](std::size_t done, std::size_t) {
        on_progress(first * windows.size() + done * count, total);
      };
    }
    CAIRN_TRY(const TextRun run, run_text({.engine = exact.get()}, judged, windows, control));
    if (run.stopped) return fail(ErrorCode::kCancelled, "interrupted while plans were measured; no plan was written");
    for (const JudgedText& text : run.recipes) divergences.push_back(mean_of(text.windows));
  }
  return divergences;
}

}  // namespace cairn

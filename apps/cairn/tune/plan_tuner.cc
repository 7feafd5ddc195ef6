// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/tune/plan_tuner.h"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "apps/cairn/interrupt.h"
#include "apps/cairn/progress.h"
#include "apps/cairn/text.h"
#include "apps/cairn/tune/plan_measure.h"
#include "cairn/eval/unit_errors.h"
#include "cairn/tune/best_plans.h"
#include "cairn/tune/clusters.h"
#include "cairn/tune/frontier.h"
#include "cairn/tune/one_threshold.h"
#include "cairn/tune/plan_search.h"

namespace cairn {
namespace {

class Tuner {
 public:
  Tuner(const TuneOptions& options, std::unique_ptr<Engine> engine)
      : options_(options),
        engine_(std::move(engine)),
        shape_{engine_->config().kv_heads, engine_->config().head_dim},
        measure_(*engine_, {.kv_budget_bytes = options.model.kv_budget, .context = options.context}, interrupt_flag()) {
  }

  Result<TuneResult> run() {
    CAIRN_TRY_VOID(read_candidates());
    CAIRN_TRY_VOID(cut_text());
    CAIRN_TRY_VOID(measure_units());
    if (options_.method == "search") {
      CAIRN_TRY_VOID(search());
    } else {
      CAIRN_TRY_VOID(allocate());
    }
    CAIRN_TRY_VOID(measure_all());
    return std::move(result_);
  }

 private:
  Status read_candidates() {
    if (!options_.codebooks.empty()) {
      CAIRN_TRY(Codebooks books, Codebooks::read(options_.codebooks));
      codebooks_ = std::make_shared<const Codebooks>(std::move(books));
    }
    for (const std::string& name : options_.candidates) {
      const std::string spec =
          name + (codebooks_ != nullptr && needs_codebook(name) ? "+codebooks=" + options_.codebooks : "");
      CAIRN_TRY(CodecPlan plan, make_plan(spec, target()));
      candidates_.push_back(plan.layers.front().keys);
      uniform_.push_back(std::move(plan));
    }
    return {};
  }

  static bool needs_codebook(const std::string& name) {
    const auto codec = find_codec(name);
    return codec && (*codec)->needs_codebook;
  }

  PlanTarget target() const { return {engine_->config().layers, shape_, &engine_->recipe().weights}; }

  // Everything is measured on the first windows, and what comes of it on those after them.
  Status cut_text() {
    CAIRN_TRY(const std::string text, read_text(options_.text));
    const Tokenizer& tokenizer = engine_->tokenizer();
    const std::vector<TokenId> tokens = tokenizer.encode(text);
    const auto begin = tokenizer.adds_bos() ? tokenizer.bos() : std::nullopt;
    const std::size_t wanted = (options_.prompts + options_.validation) * options_.context;
    if (tokens.size() < wanted) {
      return fail(ErrorCode::kInvalidArgument,
                  options_.text + " has " + std::to_string(tokens.size()) + " tokens, but " + std::to_string(wanted) +
                      " are needed: give a longer text, a shorter --context, or fewer --prompts and --validation");
    }
    WindowSlices plan{.context = options_.context, .max_windows = options_.prompts};
    CAIRN_TRY(const Windows calibration, Windows::make(tokens, begin, plan));
    for (std::size_t w = 0; w < calibration.size(); ++w) prompts_.push_back(calibration.tokens(w));
    calibration_ = calibration;
    plan.max_windows = options_.validation;
    const auto rest = static_cast<std::ptrdiff_t>(options_.prompts * options_.context);
    CAIRN_TRY(Windows validation, Windows::make({tokens.begin() + rest, tokens.end()}, begin, plan));
    validation_ = std::move(validation);
    result_.model = engine_->recipe().weights;
    result_.calibration = std::to_string(prompts_.size()) + " prompts of " + std::to_string(options_.context) +
                          " tokens from " + options_.text;
    return {};
  }

  // A unit's error in the currency of the last measurement: its attention error, times the KL divergence per error that
  // the coarsest candidate caused in that unit alone.
  Status measure_units() {
    UnitErrors errors;
    {
      Progress progress("Errors of units");
      CAIRN_TRY(errors, measure_unit_errors(*engine_, prompts_, candidates_, codebooks_,
                                            {.on_progress = progress.counter(), .cancel = &interrupt_flag()}));
    }
    const CodecPlan exact = *make_plan("raw_f16", target());
    std::vector<CodecPlan> probes;
    std::vector<std::size_t> coarsest;
    for (std::size_t u = 0; u < errors.size(); ++u) {
      coarsest.push_back(static_cast<std::size_t>(std::ranges::max_element(errors[u]) - errors[u].begin()));
      CodecPlan& probe = probes.emplace_back(exact);
      probe.codebooks = codebooks_of(candidates_[coarsest[u]]);
      (u % 2 == 0 ? probe.layers[u / 2].keys : probe.layers[u / 2].values) = candidates_[coarsest[u]];
    }
    Progress progress("How much each unit matters");
    CAIRN_TRY(const std::vector<double> divergences, measure_.mean_kl(probes, *calibration_, progress.counter()));
    progress.finish();
    for (std::size_t u = 0; u < errors.size(); ++u) {
      const Side side = u % 2 == 0 ? Side::kKey : Side::kValue;
      const double largest = errors[u][coarsest[u]], weight = largest > 0 ? divergences[u] / largest : 0.0;
      Unit& unit = units_.emplace_back();
      unit.name = "layer " + std::to_string(u / 2) + (side == Side::kKey ? " keys" : " values");
      for (std::size_t c = 0; c < candidates_.size(); ++c) {
        const PageFormat format = uniform_[c].format(static_cast<std::uint32_t>(u / 2), side, shape_);
        unit.choices.push_back({.name = options_.candidates[c],
                                .bytes = format.codec->page_bytes(format),
                                .bits = bits_per_value(format),
                                .error = errors[u][c] * weight});
      }
    }
    return {};
  }

  std::shared_ptr<const Codebooks> codebooks_of(const Codec* codec) const {
    return codec->needs_codebook ? codebooks_ : nullptr;
  }

  std::uint64_t max_bytes() const {
    if (options_.bits == 0) return std::numeric_limits<std::uint64_t>::max();
    const double values = static_cast<double>(shape_.values_per_token()) * kBlockTokens * 2 * engine_->config().layers;
    return static_cast<std::uint64_t>(options_.bits * values / 8);
  }

  CodecPlan plan_of(std::span<const std::size_t> picks) const {
    CodecPlan plan;
    plan.layers.resize(engine_->config().layers);
    for (std::size_t u = 0; u < picks.size(); ++u) {
      const Codec* codec = candidates_[picks[u]];
      (u % 2 == 0 ? plan.layers[u / 2].keys : plan.layers[u / 2].values) = codec;
      if (codec->needs_codebook) plan.codebooks = codebooks_;
    }
    return plan;
  }

  void add(std::string name, std::span<const std::size_t> picks) {
    CodecPlan plan = plan_of(picks);
    const bool there = std::ranges::any_of(
        result_.plans, [&](const MeasuredPoint& other) { return other.plan.layers == plan.layers; });
    if (there) return;
    const Cost cost = total_cost(units_, picks);
    const double bits = plan.mean_bits(shape_);
    result_.plans.push_back({std::move(name), std::move(plan), bits, cost.bytes, cost.error, 0});
  }

  Status allocate() {
    CAIRN_TRY(const Frontier frontier, Frontier::make(units_));
    std::uint64_t cap = max_bytes();
    if (options_.kl > 0) {
      CAIRN_TRY(const Allocation fewest, frontier.least_bytes(options_.kl));
      cap = std::min(cap, fewest.cost.bytes);
      // In case that more is lost than predicted.
      for (const double share : {0.8, 0.6, 0.4}) {
        const auto safer = frontier.least_bytes(share * options_.kl);
        if (safer) add("predicted " + format_number(share * options_.kl, 5), safer->picks);
      }
    }
    CAIRN_TRY(const auto best, best_plans(frontier, cap, {.count = options_.validated, .differ_in = 2}));
    for (std::size_t i = 0; i < best.size(); ++i) add("dynamic programming " + std::to_string(i + 1), best[i].picks);
    CAIRN_TRY(const ThresholdCodecs threshold, one_threshold(units_, cap));
    add("one threshold", threshold.plan.picks);
    return {};
  }

  // KVTuner: pairs of codecs per layer, layers in clusters, plans judged end to end.
  Status search() {
    std::vector<Unit> layers;
    for (std::size_t l = 0; l < units_.size() / 2; ++l) {
      CAIRN_TRY(Unit pair, pair_unit(units_[2 * l], units_[2 * l + 1]));
      layers.push_back(pruned(pair));
    }
    CAIRN_TRY(const std::vector<Cluster> clusters, cluster_units(layers));
    std::vector<Unit> spaces;
    for (const Cluster& cluster : clusters) spaces.push_back(cluster.unit);
    const auto picks_of = [&](std::span<const std::size_t> picks) {
      std::vector<std::size_t> all(units_.size());
      const std::vector<std::size_t> of_layers = member_picks(clusters, picks);
      for (std::size_t l = 0; l < layers.size(); ++l) {
        const std::string& name = layers[l].choices[of_layers[l]].name;
        const std::size_t slash = name.find('/');
        all[2 * l] = place_of(name.substr(0, slash));
        all[2 * l + 1] = place_of(name.substr(slash + 1));
      }
      return all;
    };
    Progress progress("Search");
    std::size_t judged = 0;
    const Judge judge = [&](std::span<const std::size_t> picks) -> Result<double> {
      const CodecPlan plan = plan_of(picks_of(picks));
      CAIRN_TRY(const std::vector<double> kl, measure_.mean_kl({&plan, 1}, *calibration_));
      progress.update(static_cast<double>(++judged) / static_cast<double>(options_.judged));
      return kl.front();
    };
    CAIRN_TRY(
        const SearchResult found,
        search_plans(spaces, judge, {.max_bytes = max_bytes(), .max_judged = options_.judged, .seed = options_.seed}));
    progress.finish();
    std::vector<Allocation> best(found.judged);
    std::ranges::sort(best, {}, [](const Allocation& plan) { return plan.cost.error; });
    best.resize(std::min(best.size(), options_.validated));
    for (std::size_t i = 0; i < best.size(); ++i) add("search " + std::to_string(i + 1), picks_of(best[i].picks));
    return {};
  }

  std::size_t place_of(const std::string& name) const {
    return static_cast<std::size_t>(std::ranges::find(options_.candidates, name) - options_.candidates.begin());
  }

  Status measure_all() {
    const std::size_t tuned = result_.plans.size();
    for (std::size_t c = 0; c < candidates_.size(); ++c) {
      add("uniform " + options_.candidates[c], std::vector<std::size_t>(units_.size(), c));
    }
    std::vector<CodecPlan> plans;
    for (const MeasuredPoint& plan : result_.plans) plans.push_back(plan.plan);
    Progress progress("Measuring the best plans");
    CAIRN_TRY(const std::vector<double> kl, measure_.mean_kl(plans, *validation_, progress.counter()));
    progress.finish();
    for (std::size_t i = 0; i < kl.size(); ++i) result_.plans[i].measured_kl = kl[i];
    const std::span tuned_plans = std::span(result_.plans).first(tuned);
    auto best = std::ranges::min_element(tuned_plans, {}, &MeasuredPoint::measured_kl);
    if (options_.kl > 0) {
      if (best->measured_kl > options_.kl) {
        return fail(ErrorCode::kNotFound, "no plan was measured within --kl " + format_number(options_.kl, 5) +
                                              "; the closest came to " + format_number(best->measured_kl, 5) +
                                              ": raise it, or give finer candidates");
      }
      for (auto plan = tuned_plans.begin(); plan != tuned_plans.end(); ++plan) {
        if (plan->measured_kl <= options_.kl && plan->block_bytes < best->block_bytes) best = plan;
      }
    }
    result_.best = static_cast<std::size_t>(best - tuned_plans.begin());
    return {};
  }

  const TuneOptions& options_;
  std::unique_ptr<Engine> engine_;
  PageShape shape_;
  PlanMeasure measure_;
  std::shared_ptr<const Codebooks> codebooks_;
  std::vector<const Codec*> candidates_;
  std::vector<CodecPlan> uniform_;
  std::vector<std::vector<TokenId>> prompts_;
  std::optional<Windows> calibration_, validation_;  // set by cut_text()
  std::vector<Unit> units_;
  TuneResult result_;
};

}  // namespace

Result<TuneResult> tune_plan(const TuneOptions& options) {
  CAIRN_TRY(auto engine, load_engine(options.model, /*reuse=*/false));
  return Tuner(options, std::move(engine)).run();
}

}  // namespace cairn

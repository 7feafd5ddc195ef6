// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/tune/tune_plan.h"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "apps/cairn/input.h"
#include "apps/cairn/terminal.h"
#include "cairn/eval/plan_errors.h"
#include "cairn/tune/tuner.h"

namespace cairn::cli {
namespace {

// The codecs that a plan may take, each with the plan that takes it throughout.
struct Candidates {
  std::vector<std::string> names;
  std::vector<CodecPlan> uniform;
  std::shared_ptr<const Codebooks> codebooks;

  std::vector<const Codec*> codecs() const {
    std::vector<const Codec*> all;
    for (const CodecPlan& plan : uniform) all.push_back(plan.layers.front().keys);
    return all;
  }
};

PlanTarget target_of(const Engine& engine) {
  return {engine.config().layers, {engine.config().kv_heads, engine.config().head_dim}, &engine.recipe().weights};
}

Result<Candidates> read_candidates(const TuneOptions& options, const PlanTarget& target) {
  Candidates candidates{options.candidates, {}, nullptr};
  if (!options.codebooks.empty()) {
    CAIRN_TRY(Codebooks books, Codebooks::read(options.codebooks));
    candidates.codebooks = std::make_shared<const Codebooks>(std::move(books));
  }
  for (const std::string& name : options.candidates) {
    const auto codec = find_codec(name);
    const bool trained = candidates.codebooks != nullptr && codec && (*codec)->needs_codebook;
    CAIRN_TRY(candidates.uniform.emplace_back(),
              make_plan(name + (trained ? "+codebooks=" + options.codebooks : ""), target));
  }
  return candidates;
}

// Everything is measured on the first windows, and what comes of it on those after them.
struct CutText {
  Windows calibration, validation;
};

Result<CutText> cut_text(const TuneOptions& options, const Tokenizer& tokenizer) {
  CAIRN_TRY(const std::string text, read_text(options.text));
  const std::vector<TokenId> tokens = tokenizer.encode(text);
  const auto begin = tokenizer.adds_bos() ? tokenizer.bos() : std::nullopt;
  const std::size_t wanted = (options.prompts + options.validation) * options.context;
  if (tokens.size() < wanted) {
    return fail(ErrorCode::kInvalidArgument,
                options.text + " has " + std::to_string(tokens.size()) + " tokens, but " + std::to_string(wanted) +
                    " are needed: give a longer text, a shorter --context, or fewer --prompts and --validation");
  }
  WindowSlices slices{.context = options.context, .max_windows = options.prompts};
  CAIRN_TRY(Windows calibration, Windows::make(tokens, begin, slices));
  slices.max_windows = options.validation;
  const auto rest = static_cast<std::ptrdiff_t>(options.prompts * options.context);
  CAIRN_TRY(Windows validation, Windows::make({tokens.begin() + rest, tokens.end()}, begin, slices));
  return CutText{std::move(calibration), std::move(validation)};
}

// Plans as mean divergences of the engine's model. Units are in the order of LayerSlot.
class DivergenceMeter final : public tune::LossMeter {
 public:
  DivergenceMeter(const TuneOptions& options, const Engine& engine, const Candidates& candidates, const CutText& text)
      : engine_(engine),
        candidates_(candidates),
        codecs_(candidates.codecs()),
        text_(text),
        divergence_(engine, {.kv_budget_bytes = options.model.kv_budget, .context = options.context}, interrupt_flag()),
        judged_(options.judged) {}

  Result<std::vector<double>> probe_losses(std::span<const tune::Probe> probes) override {
    CAIRN_TRY(const CodecPlan exact, make_plan("raw_f16", target_of(engine_)));
    std::vector<CodecPlan> plans;
    for (const tune::Probe& probe : probes) set(plans.emplace_back(exact), probe.unit, probe.choice);
    Progress progress("How much each unit matters");
    return divergence_.mean_kl(plans, text_.calibration, progress.counter());
  }

  Result<double> loss(const tune::Picks& picks) override {
    const CodecPlan plan = plan_of(picks);
    CAIRN_TRY(const std::vector<double> kl, divergence_.mean_kl({&plan, 1}, text_.calibration));
    search_.update(static_cast<double>(++done_) / static_cast<double>(judged_));
    return kl.front();
  }

  Result<std::vector<double>> validated_losses(std::span<const tune::Picks> picks) override {
    search_.finish();
    std::vector<CodecPlan> plans;
    for (const tune::Picks& plan : picks) plans.push_back(plan_of(plan));
    Progress progress("Measuring the best plans");
    return divergence_.mean_kl(plans, text_.validation, progress.counter());
  }

  CodecPlan plan_of(const tune::Picks& picks) const {
    CodecPlan plan;
    plan.layers.resize(engine_.config().layers);
    for (std::size_t u = 0; u < picks.size(); ++u) set(plan, u, picks[u]);
    return plan;
  }

 private:
  void set(CodecPlan& plan, std::size_t unit, std::size_t choice) const {
    const Codec* codec = codecs_[choice];
    const LayerSlot at = LayerSlot::at(unit);
    (at.slot == PageSlot::kKeys ? plan.layers[at.layer].keys : plan.layers[at.layer].values) = codec;
    if (codec->needs_codebook) plan.codebooks = candidates_.codebooks;
  }

  const Engine& engine_;
  const Candidates& candidates_;
  const std::vector<const Codec*> codecs_;
  const CutText& text_;
  PlanDivergence divergence_;
  Progress search_{"Search"};
  std::size_t judged_, done_ = 0;
};

Result<std::vector<tune::Unit>> measure_units(const Engine& engine, const Candidates& candidates, const CutText& text) {
  std::vector<std::vector<TokenId>> prompts;
  for (std::size_t w = 0; w < text.calibration.size(); ++w) prompts.push_back(text.calibration.tokens(w));
  Progress progress("Errors of units");
  CAIRN_TRY(const UnitErrors errors,
            measure_unit_errors(engine, prompts, candidates.codecs(), candidates.codebooks,
                                {.on_progress = progress.counter(), .cancel = &interrupt_flag()}));
  const PageShape shape = target_of(engine).shape;
  std::vector<tune::Unit> units;
  for (std::size_t u = 0; u < errors.size(); ++u) {
    const LayerSlot at = LayerSlot::at(u);
    tune::Unit& unit = units.emplace_back();
    unit.name = "layer " + std::to_string(at.layer) + (at.slot == PageSlot::kKeys ? " keys" : " values");
    for (std::size_t c = 0; c < candidates.names.size(); ++c) {
      const PageFormat format = candidates.uniform[c].format(static_cast<std::uint32_t>(at.layer), at.slot, shape);
      unit.choices.push_back({.name = candidates.names[c],
                              .bytes = format.codec->page_bytes(format),
                              .bits = bits_per_value(format),
                              .error = errors[u][c]});
    }
  }
  return units;
}

std::uint64_t max_bytes(const TuneOptions& options, const PlanTarget& target) {
  if (options.bits == 0) return std::numeric_limits<std::uint64_t>::max();
  const double values = static_cast<double>(target.shape.values_per_token()) * kBlockTokens * 2 * target.layers;
  return static_cast<std::uint64_t>(options.bits * values / 8);
}

}  // namespace

Result<TuneResult> tune_plan(const TuneOptions& options) {
  CAIRN_TRY(const std::unique_ptr<Engine> engine, load_engine(options.model, /*reuse=*/false));
  const PlanTarget target = target_of(*engine);
  CAIRN_TRY(const Candidates candidates, read_candidates(options, target));
  CAIRN_TRY(const CutText text, cut_text(options, engine->tokenizer()));
  CAIRN_TRY(std::vector<tune::Unit> units, measure_units(*engine, candidates, text));
  DivergenceMeter meter(options, *engine, candidates, text);
  CAIRN_TRY(const tune::Tuned tuned, tune::tune_units(std::move(units), meter,
                                                      {.method = options.method == "search" ? tune::TuneMethod::kSearch
                                                                                            : tune::TuneMethod::kExact,
                                                       .max_bytes = max_bytes(options, target),
                                                       .max_loss = options.kl,
                                                       .validated = options.validated,
                                                       .judged = options.judged,
                                                       .seed = options.seed}));
  if (!tuned.within_max_loss) {
    return fail(ErrorCode::kNotFound, "no plan was measured within --kl " + format_number(options.kl, 5) +
                                          "; the closest came to " + format_number(tuned.plans[tuned.best].loss, 5) +
                                          ": raise it, or give finer candidates");
  }
  TuneResult result{.plans = {},
                    .best = tuned.best,
                    .model = engine->recipe().weights,
                    .calibration = std::to_string(text.calibration.size()) + " prompts of " +
                                   std::to_string(options.context) + " tokens from " + options.text};
  for (const tune::TunedPlan& plan : tuned.plans) {
    CodecPlan codecs = meter.plan_of(plan.picks);
    const double bits = codecs.mean_bits(target.shape);
    result.plans.push_back({plan.name, std::move(codecs), bits, plan.predicted.bytes, plan.predicted.error, plan.loss});
  }
  return result;
}

}  // namespace cairn::cli

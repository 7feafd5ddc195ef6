// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/plan_tuning.h"

#include <limits>
#include <memory>
#include <utility>

#include "cairn/base/number_text.h"
#include "cairn/eval/plan_errors.h"
#include "cairn/eval/text_run.h"

namespace cairn::eval {
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
  return {engine.config().layers, engine.config().each_layer.front().cache.shape, &engine.recipe().weights};
}

Result<Candidates> read_candidates(const PlanTuning& tuning, const PlanTarget& target) {
  Candidates candidates{tuning.candidates, {}, nullptr};
  if (!tuning.codebooks.empty()) {
    CAIRN_TRY(Codebooks books, Codebooks::read(tuning.codebooks));
    candidates.codebooks = std::make_shared<const Codebooks>(std::move(books));
  }
  for (const std::string& name : tuning.candidates) {
    const auto codec = find_codec(name);
    const bool trained = candidates.codebooks != nullptr && codec && (*codec)->needs_codebook;
    CAIRN_TRY(candidates.uniform.emplace_back(),
              make_plan(name + (trained ? "+codebooks=" + tuning.codebooks : ""), target));
  }
  return candidates;
}

struct CutText {
  Windows calibration, validation;
};

Result<CutText> cut_text(const PlanTuning& tuning, std::span<const TokenId> tokens, const Tokenizer& tokenizer) {
  const auto begin = tokenizer.adds_bos() ? tokenizer.bos() : std::nullopt;
  const std::size_t wanted = (tuning.prompts + tuning.validation) * tuning.context;
  if (tokens.size() < wanted) {
    return fail(ErrorCode::kInvalidArgument,
                "the text has " + std::to_string(tokens.size()) + " tokens, but " + std::to_string(wanted) +
                    " are needed: give a longer text, a shorter context, or fewer prompts and validation windows");
  }
  WindowSlices slices{.context = tuning.context, .max_windows = tuning.prompts};
  CAIRN_TRY(Windows calibration, Windows::make({tokens.begin(), tokens.end()}, begin, slices));
  slices.max_windows = tuning.validation;
  const auto rest = static_cast<std::ptrdiff_t>(tuning.prompts * tuning.context);
  CAIRN_TRY(Windows validation, Windows::make({tokens.begin() + rest, tokens.end()}, begin, slices));
  return CutText{std::move(calibration), std::move(validation)};
}

std::function<void(std::size_t, std::size_t)> counter(const PlanTuningControl& control, std::string_view stage) {
  return [&control, stage](std::size_t done, std::size_t total) {
    control.on_progress(stage, static_cast<double>(done) / static_cast<double>(total));
  };
}

// Plans as mean divergences of the engine's model. Units are in the order of LayerSlot.
class DivergenceMeter final : public tune::LossMeter {
 public:
  DivergenceMeter(const PlanTuning& tuning, const Engine& engine, const Candidates& candidates, const CutText& text,
                  const PlanTuningControl& control, const std::atomic<bool>& cancel)
      : engine_(engine),
        candidates_(candidates),
        codecs_(candidates.codecs()),
        text_(text),
        control_(control),
        divergence_(engine, {.kv_budget_bytes = tuning.kv_budget_bytes, .context = tuning.context}, cancel),
        judged_(tuning.judged) {}

  Result<std::vector<double>> probe_losses(std::span<const tune::Probe> probes) override {
    CAIRN_TRY(const CodecPlan exact, make_plan("raw_f16", target_of(engine_)));
    std::vector<CodecPlan> plans;
    for (const tune::Probe& probe : probes) set(plans.emplace_back(exact), probe.unit, probe.choice);
    return divergence_.mean_kl(plans, text_.calibration, counter(control_, "How much each unit matters"));
  }

  Result<double> loss(const tune::Picks& picks) override {
    const CodecPlan plan = plan_of(picks);
    CAIRN_TRY(const std::vector<double> kl, divergence_.mean_kl({&plan, 1}, text_.calibration));
    control_.on_progress("Search", static_cast<double>(++done_) / static_cast<double>(judged_));
    return kl.front();
  }

  Result<std::vector<double>> validated_losses(std::span<const tune::Picks> picks) override {
    std::vector<CodecPlan> plans;
    for (const tune::Picks& plan : picks) plans.push_back(plan_of(plan));
    return divergence_.mean_kl(plans, text_.validation, counter(control_, "Measuring the best plans"));
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
  const PlanTuningControl& control_;
  PlanDivergence divergence_;
  std::size_t judged_, done_ = 0;
};

Result<std::vector<tune::Unit>> measure_units(const Engine& engine, const Candidates& candidates, const CutText& text,
                                              const PlanTuningControl& control) {
  std::vector<std::vector<TokenId>> prompts;
  for (std::size_t w = 0; w < text.calibration.size(); ++w) prompts.push_back(text.calibration.tokens(w));
  CAIRN_TRY(const UnitErrors errors,
            measure_unit_errors(engine, prompts, candidates.codecs(), candidates.codebooks,
                                {.on_progress = counter(control, "Errors of units"), .cancel = control.cancel}));
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

std::uint64_t max_bytes(const PlanTuning& tuning, const PlanTarget& target) {
  if (tuning.max_bits == 0) return std::numeric_limits<std::uint64_t>::max();
  const double values = static_cast<double>(target.shape.values_per_token()) * kBlockTokens * 2 * target.layers;
  return static_cast<std::uint64_t>(tuning.max_bits * values / 8);
}

}  // namespace

Result<TunedPlans> tune_plan(const Engine& engine, std::span<const TokenId> tokens, const PlanTuning& tuning,
                             const PlanTuningControl& control) {
  static const std::atomic<bool> kNever{false};
  const PlanTarget target = target_of(engine);
  if (!target.shape.has_value_pages()) {
    return fail(ErrorCode::kUnsupported,
                "plans of a model with latent attention cannot be tuned: its values lie in its keys, which raw codecs "
                "alone can hold");
  }
  CAIRN_TRY(const Candidates candidates, read_candidates(tuning, target));
  CAIRN_TRY(const CutText text, cut_text(tuning, tokens, engine.tokenizer()));
  CAIRN_TRY(std::vector<tune::Unit> units, measure_units(engine, candidates, text, control));
  DivergenceMeter meter(tuning, engine, candidates, text, control,
                        control.cancel == nullptr ? kNever : *control.cancel);
  CAIRN_TRY(const tune::Tuned tuned, tune::tune_units(std::move(units), meter,
                                                      {.method = tuning.method,
                                                       .max_bytes = max_bytes(tuning, target),
                                                       .max_loss = tuning.max_kl,
                                                       .validated = tuning.validated,
                                                       .judged = tuning.judged,
                                                       .seed = tuning.seed}));
  if (!tuned.within_max_loss) {
    return fail(ErrorCode::kNotFound, "no plan was measured within a mean KL of " + format_number(tuning.max_kl, 5) +
                                          "; the closest came to " + format_number(tuned.plans[tuned.best].loss, 5) +
                                          ": raise it, or give finer candidates");
  }
  TunedPlans result{.plans = {}, .best = tuned.best};
  for (const tune::TunedPlan& plan : tuned.plans) {
    CodecPlan codecs = meter.plan_of(plan.picks);
    const double bits = codecs.mean_bits(target.shape);
    result.plans.push_back({plan.name, std::move(codecs), bits, plan.predicted.bytes, plan.predicted.error, plan.loss});
  }
  return result;
}

}  // namespace cairn::eval

// SPDX-License-Identifier: Apache-2.0
// cairn tune: artifacts that fit codecs and policies to a model. Here `cairn tune plan`: a codec for the keys and one
// for the values of each layer, under a cap.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include "apps/cairn/commands.h"
#include "apps/cairn/eval/eval_json.h"
#include "apps/cairn/input.h"
#include "apps/cairn/model_options.h"
#include "apps/cairn/options.h"
#include "apps/cairn/terminal.h"
#include "cairn/codec/plan_file.h"
#include "cairn/eval/plan_tuning.h"

namespace cairn::cli {
namespace {

struct TuneOptions {
  ModelOptions model;
  std::string text;
  std::string out;
  std::string method = "dp";  // or "search"
  eval::PlanTuning tuning;
  bool json = false;
};

std::string command_text(const TuneOptions& options) {
  std::string text = "cairn tune plan -m " + options.model.model + " " + options.text;
  if (options.tuning.max_bits > 0) text += " --bits " + format_number(options.tuning.max_bits, 3);
  if (options.tuning.max_kl > 0) text += " --kl " + format_number(options.tuning.max_kl, 5);
  text += " --candidates ";
  for (const std::string& name : options.tuning.candidates)
    text += (name == options.tuning.candidates.front() ? "" : ",") + name;
  if (!options.tuning.codebooks.empty()) text += " --codebooks " + options.tuning.codebooks;
  if (options.method == "search") {
    text += " --judged " + std::to_string(options.tuning.judged) + " --seed " + std::to_string(options.tuning.seed);
  }
  return text + " --method " + options.method + " --context " + std::to_string(options.tuning.context) + " --prompts " +
         std::to_string(options.tuning.prompts) + " --validation " + std::to_string(options.tuning.validation);
}

PlanFile file_of(const TuneOptions& options, const Engine& engine, const eval::TunedPlans& result,
                 const std::string& calibration) {
  const eval::MeasuredPlan& best = result.plans[result.best];
  PlanFile file;
  file.model = engine.recipe().weights;
  for (const LayerPlan& layer : best.plan.layers) {
    file.keys.emplace_back(layer.keys->name);
    file.values.emplace_back(layer.values->name);
  }
  if (best.plan.codebooks != nullptr) {
    const auto folder = std::filesystem::absolute(options.out).parent_path();
    file.codebooks = {
        .path = std::filesystem::relative(std::filesystem::absolute(options.tuning.codebooks), folder).string(),
        .digest = best.plan.codebooks->digest()};
  }
  file.found = {.method = best.name,
                .calibration = calibration,
                .command = command_text(options),
                .date = today(),
                .bytes_per_token = static_cast<double>(best.block_bytes) / kBlockTokens,
                .bits_per_value = best.bits,
                .predicted_error = best.predicted_kl,
                .measured_kl = best.measured_kl};
  return file;
}

Json plan_json(const eval::MeasuredPlan& plan) {
  Json keys = Json::array(), values = Json::array();
  for (const LayerPlan& layer : plan.plan.layers) {
    keys.push_back(layer.keys->name);
    values.push_back(layer.values->name);
  }
  return {{"name", plan.name},
          {"bits_per_value", plan.bits},
          {"bytes_per_token", static_cast<double>(plan.block_bytes) / kBlockTokens},
          {"predicted_kl", plan.predicted_kl ? Json(*plan.predicted_kl) : Json()},
          {"measured_kl", plan.measured_kl},
          {"keys", keys},
          {"values", values}};
}

void print(const TuneOptions& options, const eval::TunedPlans& result) {
  std::vector<std::vector<std::string>> table = {
      {"plan", "bytes/token", "bits/value", "predicted KL", "measured KL", "written"}};
  for (std::size_t i = 0; i < result.plans.size(); ++i) {
    const eval::MeasuredPlan& plan = result.plans[i];
    table.push_back({plan.name, format_number(static_cast<double>(plan.block_bytes) / kBlockTokens, 0),
                     format_number(plan.bits, 2), plan.predicted_kl ? format_number(*plan.predicted_kl, 5) : "",
                     format_number(plan.measured_kl, 5), i == result.best ? options.out : ""});
  }
  std::cout << format_table(table) << "Use it as --codec " << options.out << '\n';
}

// A bar per stage.
class StageBars {
 public:
  void update(std::string_view stage, double share) {
    if (stage != stage_) bar_.emplace(stage_ = stage);
    bar_->update(share);
  }

 private:
  std::string stage_;
  std::optional<Progress> bar_;
};

Status run_plan(const TuneOptions& options) {
  if (!options.out.ends_with(".toml")) {
    return fail(ErrorCode::kInvalidArgument, "--output '" + options.out + "': a plan file is named *.toml");
  }
  if (options.tuning.max_bits == 0 && options.tuning.max_kl == 0) {
    return fail(ErrorCode::kInvalidArgument,
                "give a cap: --bits N (true bits per value) or --kl N (mean KL divergence)");
  }
  if (options.tuning.max_kl > 0 && options.method == "search") {
    return fail(ErrorCode::kInvalidArgument, "--method search takes --bits; --kl goes with --method dp");
  }
  const InterruptScope interrupt;
  CAIRN_TRY(const std::string text, read_utf8_text(options.text));
  CAIRN_TRY(const std::unique_ptr<Engine> engine, load_engine(options.model, /*reuse=*/false));
  eval::PlanTuning tuning = options.tuning;
  tuning.method = options.method == "search" ? tune::TuneMethod::kSearch : tune::TuneMethod::kExact;
  tuning.kv_budget_bytes = options.model.kv_budget;
  CAIRN_TRY(const eval::TunedPlans result, [&] {
    StageBars bars;
    return eval::tune_plan(*engine, engine->tokenizer().encode(text), tuning,
                           {.on_progress = [&](std::string_view stage, double share) { bars.update(stage, share); },
                            .cancel = &interrupt_flag()});
  }());
  const std::string calibration =
      std::to_string(tuning.prompts) + " prompts of " + std::to_string(tuning.context) + " tokens from " + options.text;
  CAIRN_TRY_VOID(write_plan_file(options.out, file_of(options, *engine, result, calibration)));
  if (!options.json) {
    print(options, result);
    return {};
  }
  Json report = {{"format", "cairn.tune.plan.v1"}, {"file", options.out}, {"calibration", calibration}};
  report["best"] = result.plans[result.best].name;
  report["plans"] = Json::array();
  for (const eval::MeasuredPlan& plan : result.plans) report["plans"].push_back(plan_json(plan));
  std::cout << dump_json(report);
  return {};
}

void add_tune_plan_command(CLI::App& tune, Status& outcome) {
  CLI::App* command = tune.add_subcommand("plan", "Choose a codec for each layer's keys and values, under a cap");
  auto options = std::make_shared<TuneOptions>();
  options->tuning.candidates = {"kivi2-g64", "kivi2-g32", "tok4", "kivi4-g32", "tok8", "raw_f16"};
  add_model_options(*command, options->model);
  command->add_option("text", options->text, "Prompts to measure on, a UTF-8 file; - for standard input")->required();
  command->add_option("-o,--output", options->out, "The plan to write, as plan.toml")->required();
  command->add_option("--bits", options->tuning.max_bits, "Most true bits per value, metadata included")
      ->check(number_between(0.5, 32.0));
  command->add_option("--kl", options->tuning.max_kl, "Most mean KL divergence; then the fewest bytes")
      ->check(number_between(1e-9, 100.0));
  command->add_option("--candidates", options->tuning.candidates, "Codecs to choose from")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--codebooks", options->tuning.codebooks,
                      "Of candidates that need them, see 'cairn tune codebooks'");
  command
      ->add_option("--method", options->method,
                   "dp: measure units, add errors up, choose exactly. search: KVTuner's, plans judged end to end")
      ->check(one_of({"dp", "search"}))
      ->capture_default_str();
  command->add_option("--context", options->tuning.context, "Tokens of a window")
      ->check(whole_number(128, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--prompts", options->tuning.prompts,
                   "Windows that units, and the plans of a search, are measured on")
      ->check(whole_number(1, 10000))
      ->capture_default_str();
  command
      ->add_option("--validation", options->tuning.validation,
                   "Windows after those that the best plans are measured on")
      ->check(whole_number(1, 10000))
      ->capture_default_str();
  command->add_option("--validated", options->tuning.validated, "Best plans that are measured end to end")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  command->add_option("--judged", options->tuning.judged, "Plans that a search may measure")
      ->check(whole_number(1, 100000))
      ->capture_default_str();
  command->add_option("--seed", options->tuning.seed, "Of the search")->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &outcome] { outcome = run_plan(*options); });
}

}  // namespace

void add_tune_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("tune", "Fit codecs and policies of the KV cache to a model");
  command->require_subcommand(1);
  add_tune_plan_command(*command, outcome);
  add_tune_budgets_command(*command, outcome);
  add_tune_codebooks_command(*command, outcome);
  add_tune_rotate_command(*command, outcome);
  add_tune_cold_command(*command, outcome);
}

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
// cairn tune rotate: axes, shares and points of codec `axes` for a model, from a text.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "apps/cairn/commands.h"
#include "apps/cairn/eval/eval_json.h"
#include "apps/cairn/input.h"
#include "apps/cairn/model_options.h"
#include "apps/cairn/options.h"
#include "apps/cairn/terminal.h"
#include "cairn/codec/axes_table.h"
#include "cairn/eval/plan_errors.h"
#include "cairn/train/train_axes.h"

namespace cairn::cli {
namespace {

struct RotateOptions {
  ModelOptions model;
  std::string text;
  std::string output;
  double bits = 2.5;
  std::size_t tokens = train::KvSamples::Options{}.max_tokens;
  std::uint32_t window = 1024;
  bool json = false;
};

// What losses are measured on: windows of the same text, codes for one layer's keys or values at a time.
constexpr std::uint32_t kLossContext = 512;
constexpr std::size_t kLossWindows = 2;

// Tokens of a head that points are placed on: a first time, to measure losses, and for good.
constexpr std::size_t kFirstPoints = 2048, kPoints = 8192;

// Mean KL of each layer's keys and values in `books`, all else being as it was, in the order of LayerSlot. Whatever
// changes at a layer, later ones round their activations otherwise; that part, which `tok8` shows, is taken off.
Result<std::vector<double>> losses_of(const Engine& engine, const std::vector<TokenId>& text,
                                      std::shared_ptr<const Codebooks> books) {
  CAIRN_TRY(const Codec* axes, find_codec("axes"));
  CAIRN_TRY(const Codec* exact, find_codec("raw_f16"));
  CAIRN_TRY(const Codec* fine, find_codec("tok8"));
  std::vector<CodecPlan> plans;
  for (std::uint32_t layer = 0; layer < books->layers(); ++layer) {
    plans.emplace_back().layers.assign(books->layers(), {exact, exact});
    plans.back().layers[layer].keys = fine;
  }
  for (std::size_t unit = 0; unit < kPageSlots.size() * books->layers(); ++unit) {
    CodecPlan& plan = plans.emplace_back();
    plan.layers.assign(books->layers(), {exact, exact});
    const LayerSlot at = LayerSlot::at(unit);
    (at.slot == PageSlot::kKeys ? plan.layers[at.layer].keys : plan.layers[at.layer].values) = axes;
    plan.codebooks = books;
  }
  const Tokenizer& tokenizer = engine.tokenizer();
  const std::uint32_t context = std::min(kLossContext, engine.context());
  CAIRN_TRY(const Windows windows,
            Windows::make(text, tokenizer.adds_bos() ? tokenizer.bos() : std::nullopt,
                          {.context = context,
                           .stride = static_cast<std::uint32_t>(std::max<std::size_t>(context, text.size() / 3)),
                           .max_windows = kLossWindows}));
  EngineOptions options;
  options.context = context;
  options.reuse = false;
  Progress measuring("Measuring layers");
  const PlanDivergence divergence(engine, options, interrupt_flag());
  const auto divergences = divergence.mean_kl(plans, windows, measuring.counter());
  measuring.finish();
  if (!divergences) return std::unexpected(divergences.error());
  std::vector<double> losses;
  for (std::size_t unit = 0; unit < kPageSlots.size() * books->layers(); ++unit) {
    losses.push_back(std::max((*divergences)[books->layers() + unit] - (*divergences)[LayerSlot::at(unit).layer], 0.0));
  }
  return losses;
}

Status run_rotate(const RotateOptions& options) {
  const InterruptScope interrupt;
  CAIRN_TRY(const std::string text, read_utf8_text(options.text));
  CAIRN_TRY(const std::unique_ptr<Engine> engine, load_engine(options.model, /*reuse=*/false));
  const PageShape shape = engine->config().each_layer.front().cache.shape;
  CAIRN_TRY(const Codec* axes, find_codec("axes"));
  CAIRN_TRY_VOID(check_shape(*axes, shape));
  const std::vector<TokenId> tokens = engine->tokenizer().encode(text);

  Progress sampling("Sampling");
  const Result<train::KvSamples> samples = train::KvSamples::collect(
      *engine, tokens,
      {.max_tokens = options.tokens, .window = std::min(options.window, engine->context()), .queries = true},
      {.on_progress = sampling.counter(), .cancel = &interrupt_flag()});
  sampling.finish();
  if (!samples) return std::unexpected(samples.error());
  CAIRN_TRY(const auto weights,
            train::output_moments_of(options.model.model, engine->config().layers, engine->config().heads, shape));

  Progress fitting("Fitting axes");
  const train::AxesTrainer trainer(*samples, weights, engine->pool(), fitting.counter());
  fitting.finish();
  const auto train = [&](const train::AxesTrainer::Picks& picks, std::size_t points) {
    Progress training("Placing points");
    auto books = trainer.train(picks, engine->recipe().weights, points, training.counter());
    training.finish();
    return books;
  };
  CAIRN_TRY(Codebooks first, train(trainer.coarse(), kFirstPoints));
  CAIRN_TRY(const std::vector<double> losses,
            losses_of(*engine, tokens, std::make_shared<const Codebooks>(std::move(first))));
  const train::AxesTrainer::Picks picks = trainer.choose(options.bits, losses);
  CAIRN_TRY(const Codebooks books, train(picks, kPoints));
  if (interrupted()) return fail(ErrorCode::kCancelled, "interrupted; nothing was written");
  CAIRN_TRY_VOID(books.write(options.output));

  const double bits = trainer.bits(picks);
  if (options.json) {
    Json report = result_head("cairn.tune.rotate.v1", *engine, options.model.model);
    report["text"] = {{"file", options.text}, {"tokens", tokens.size()}};
    report["sampled_tokens"] = samples->tokens();
    report["bits"] = bits;
    report["losses"] = losses;
    report["file"] = options.output;
    report["digest"] = books.digest().hex();
    std::cout << dump_json(report);
    return {};
  }
  std::cout << "Axes of " << format_number(bits, 2) << " bits from " << samples->tokens() << " tokens in '"
            << options.output << "'. Use them as --codec axes+codebooks=" << options.output << '\n';
  return {};
}

}  // namespace

void add_tune_rotate_command(CLI::App& tune, Status& outcome) {
  CLI::App* command = tune.add_subcommand("rotate", "Fit codec 'axes' to a model on a text: two to four bits a value");
  auto options = std::make_shared<RotateOptions>();
  add_model_argument(*command, options->model.model);
  command->add_option("text", options->text, "The text, a UTF-8 file; - for standard input")->required();
  command->add_option("-o,--output", options->output, "The file to write")->required();
  command->add_option("--bits", options->bits, "Most bits of a value, on the mean of keys and values")
      ->check(CLI::Range(1.25, 4.25))
      ->capture_default_str();
  command->add_option("--tokens", options->tokens, "Most tokens to fit to, spread over the text")
      ->check(not_negative())
      ->capture_default_str();
  command->add_option("--window", options->window, "Tokens that see each other")
      ->check(not_negative())
      ->capture_default_str();
  command->add_option("-t,--threads", options->model.threads, "Threads; 0 is one per core")->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &outcome] { outcome = run_rotate(*options); });
}

}  // namespace cairn::cli

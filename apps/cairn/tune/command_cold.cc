// SPDX-License-Identifier: Apache-2.0
// cairn tune cold: the tables of a cold form for a model, from a text.
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
#include "cairn/codec/cold_form.h"
#include "cairn/train/cold_fit.h"
#include "cairn/train/train_axes.h"

namespace cairn::cli {
namespace {

struct ColdOptions {
  ModelOptions model;
  std::string text;
  std::string output;
  double bits = 2.0;
  std::size_t tokens = train::KvSamples::Options{}.max_tokens;
  std::uint32_t window = 1024;
  bool json = false;
};

Status run_cold(const ColdOptions& options) {
  const InterruptScope interrupt;
  CAIRN_TRY(const std::string text, read_utf8_text(options.text));
  CAIRN_TRY(const std::unique_ptr<Engine> engine, load_engine(options.model, /*reuse=*/false));
  std::vector<LayerSpec> layers;
  for (const auto& layer : engine->config().each_layer) layers.push_back(layer.cache);
  const PageShape shape = layers.front().shape;
  CAIRN_TRY_VOID(cold::check_shape(shape));
  if (std::ranges::any_of(layers, [&](const LayerSpec& layer) { return layer.shape != shape; })) {
    return fail(ErrorCode::kUnsupported, "a cold form takes models whose layers have heads of one shape");
  }
  const std::vector<TokenId> tokens = engine->tokenizer().encode(text);
  const std::uint32_t window = std::min(options.window, engine->context());

  train::ColdSignals signals(layers, std::min(options.tokens, tokens.size()), window);
  Progress sampling("Sampling");
  const Result<train::KvSamples> samples =
      train::KvSamples::collect(*engine, tokens, {.max_tokens = options.tokens, .window = window, .also = &signals},
                                {.on_progress = sampling.counter(), .cancel = &interrupt_flag()});
  sampling.finish();
  if (!samples) return std::unexpected(samples.error());
  CAIRN_TRY(const auto weights,
            train::output_moments_of(options.model.model, engine->config().layers, engine->config().heads, shape));
  Progress fitting("Fitting axes");
  const train::ColdTrainer trainer(*samples, signals, layers, weights, engine->pool(), fitting.counter());
  fitting.finish();
  const double step = trainer.step_for(options.bits), bits = trainer.bits(step);
  CAIRN_TRY(const Codebooks tables, trainer.train(step, engine->recipe().weights));
  if (interrupted()) return fail(ErrorCode::kCancelled, "interrupted; nothing was written");
  CAIRN_TRY_VOID(tables.write(options.output));

  if (options.json) {
    Json report = result_head("cairn.tune.cold.v1", *engine, options.model.model);
    report["text"] = {{"file", options.text}, {"tokens", tokens.size()}};
    report["sampled_tokens"] = samples->tokens();
    report["bits"] = bits;
    report["step"] = step;
    report["file"] = options.output;
    report["digest"] = tables.digest().hex();
    std::cout << dump_json(report);
    return {};
  }
  std::cout << "A cold form of " << format_number(bits, 2) << " bits a value, 1/" << format_number(16 / bits, 1)
            << " of f16, from " << samples->tokens() << " tokens in '" << options.output
            << "'. Use it as --store-codec " << options.output << '\n';
  return {};
}

}  // namespace

void add_tune_cold_command(CLI::App& tune, Status& outcome) {
  CLI::App* command =
      tune.add_subcommand("cold", "Fit a cold form to a model on a text: a store in an eighth of the bytes");
  auto options = std::make_shared<ColdOptions>();
  add_model_argument(*command, options->model.model);
  command->add_option("text", options->text, "The text, a UTF-8 file; - for standard input")->required();
  command->add_option("-o,--output", options->output, "The file to write")->required();
  command->add_option("--bits", options->bits, "Bits of a value on this text, on the mean of keys and values")
      ->check(CLI::Range(0.25, 8.0))
      ->capture_default_str();
  command->add_option("--tokens", options->tokens, "Most tokens to fit to, spread over the text")
      ->check(not_negative())
      ->capture_default_str();
  command->add_option("--window", options->window, "Tokens that see each other")
      ->check(not_negative())
      ->capture_default_str();
  command->add_option("-t,--threads", options->model.threads, "Threads; 0 is one per core")->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &outcome] { outcome = run_cold(*options); });
}

}  // namespace cairn::cli

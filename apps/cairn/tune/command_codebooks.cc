// SPDX-License-Identifier: Apache-2.0
// cairn tune codebooks: trains the tables of a codec on the keys and values of a text.
#include <CLI/CLI.hpp>
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
#include "cairn/codec/codebooks.h"
#include "cairn/train/train_codebooks.h"

namespace cairn::cli {
namespace {

struct CodebookOptions {
  ModelOptions model;
  std::string text;
  std::string codec = "pq4";
  std::string output;
  std::size_t tokens = train::KvSamples::Options{}.max_tokens;
  std::uint32_t window = 0;
  bool json = false;
};

Result<const Codec*> trained_codec(const std::string& name) {
  CAIRN_TRY(const Codec* codec, find_codec(name));
  if (codec->needs_codebook && codec->made_by != "cairn tune codebooks") {
    return fail(ErrorCode::kUnsupported,
                "codec '" + name + "' is fitted to a model by '" + std::string(codec->made_by) + "'");
  }
  if (codec->needs_codebook) return codec;
  return fail(ErrorCode::kUnsupported, "codec '" + name + "' has no codebooks to train; pq4 and pq4-256 do");
}

Status run_codebooks(const CodebookOptions& options) {
  const InterruptScope interrupt;
  CAIRN_TRY(const Codec* codec, trained_codec(options.codec));
  CAIRN_TRY(const std::string text, read_utf8_text(options.text));
  CAIRN_TRY(const std::unique_ptr<Engine> engine, load_engine(options.model, /*reuse=*/false));
  const std::vector<TokenId> tokens = engine->tokenizer().encode(text);

  Progress sampling("Sampling");
  const Result<train::KvSamples> samples =
      train::KvSamples::collect(*engine, tokens, {.max_tokens = options.tokens, .window = options.window},
                                {.on_progress = sampling.counter(), .cancel = &interrupt_flag()});
  sampling.finish();
  if (!samples) return std::unexpected(samples.error());

  Progress training("Training");
  const Result<Codebooks> books =
      train::train_codebooks(*codec, engine->recipe().weights, *samples, engine->pool(), training.counter());
  training.finish();
  if (!books) return std::unexpected(books.error());
  if (interrupted()) return fail(ErrorCode::kCancelled, "interrupted; nothing was written");
  CAIRN_TRY_VOID(books->write(options.output));

  if (options.json) {
    Json report = result_head("cairn.tune.codebooks.v1", *engine, options.model.model);
    report["text"] = {{"file", options.text}, {"tokens", tokens.size()}};
    report["codec"] = codec->name;
    report["sampled_tokens"] = samples->tokens();
    report["file"] = options.output;
    report["digest"] = books->digest().hex();
    report["table_bytes"] = books->table_bytes();
    std::cout << dump_json(report);
    return {};
  }
  std::cout << "Codebooks of " << codec->name << " from " << samples->tokens() << " tokens in '" << options.output
            << "'. Use them as --codec " << codec->name << "+codebooks=" << options.output << '\n';
  return {};
}

}  // namespace

void add_tune_codebooks_command(CLI::App& tune, Status& outcome) {
  CLI::App* command = tune.add_subcommand("codebooks", "Train the tables of a codec on a text");
  auto options = std::make_shared<CodebookOptions>();
  add_model_argument(*command, options->model.model);
  command->add_option("text", options->text, "The text, a UTF-8 file; - for standard input")->required();
  command->add_option("-o,--output", options->output, "The file to write")->required();
  command->add_option("--codec", options->codec, "pq4 or pq4-256")->capture_default_str();
  command->add_option("--tokens", options->tokens, "Most tokens to train on, spread over the text")
      ->check(not_negative())
      ->capture_default_str();
  command->add_option("--window", options->window, "Tokens that see each other; 0: the model's context")
      ->check(not_negative())
      ->capture_default_str();
  command->add_option("-t,--threads", options->model.threads, "Threads; 0 is one per core")->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &outcome] { outcome = run_codebooks(*options); });
}

}  // namespace cairn::cli

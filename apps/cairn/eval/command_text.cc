// SPDX-License-Identifier: Apache-2.0
// cairn eval ppl: strided perplexity of a text under recipes. cairn eval kld: how far recipes move next-token
// distributions away from those of the exact cache.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/cairn/eval/eval_commands.h"
#include "apps/cairn/eval/eval_json.h"
#include "apps/cairn/input.h"
#include "apps/cairn/model_options.h"
#include "apps/cairn/options.h"
#include "apps/cairn/terminal.h"
#include "cairn/base/result.h"
#include "cairn/eval/judged_engine.h"
#include "cairn/eval/text_run.h"

namespace cairn::cli {
namespace {

struct TextOptions {
  ModelOptions model;
  std::string text;
  std::vector<std::string> recipes;  // empty: the codec alone
  std::vector<std::uint32_t> contexts = {512};
  std::uint32_t stride = 0;
  std::optional<std::uint32_t> skip{};
  std::size_t max_windows = 0;  // 0: all
  std::uint64_t seed = 1;
  bool json = false;
};

// A loaded model with its tokenised text and recipes, all checked.
struct TextBench {
  std::unique_ptr<Engine> engine;  // its own cache is not used
  std::vector<TokenId> tokens;
  std::vector<EvalRecipe> recipes;
  std::vector<std::uint32_t> contexts;  // none twice
};

EngineOptions cache_for(const TextOptions& options, std::uint32_t context) {
  return {.kv_budget_bytes = options.model.kv_budget, .context = context};
}

// Before minutes are spent on the windows that fit.
Status check_budget(JudgedEngine& judged, std::uint32_t context, std::uint64_t budget) {
  const std::size_t needed = judged.engine().cache().bytes_for(context);
  if (needed <= budget) return {};
  return fail(ErrorCode::kOutOfBudget, "a context of " + std::to_string(context) + " tokens needs " +
                                           std::to_string(needed) + " bytes of keys and values under '" +
                                           judged.recipe().text + "'; raise --kv-budget");
}

void add_text_options(CLI::App& command, TextOptions& options) {
  add_model_options(command, options.model);
  command.add_option("text", options.text, "The text, a UTF-8 file; - for standard input")->required();
  command
      .add_option("--recipes", options.recipes,
                  "What to judge, as --recipes raw_f16,raw_f16+drop=0.2; default: --codec")
      ->delimiter(',');
  command.add_option("--contexts", options.contexts, "Tokens of a window, as --contexts 512,1024")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--stride", options.stride, "Tokens from one window to the next; 0: the context")
      ->capture_default_str();
  command.add_option("--skip", options.skip, "Tokens of a window that are context only; default: half of it");
  command.add_option("--windows", options.max_windows, "At most so many windows; 0: all of the text")
      ->capture_default_str();
  command.add_option("--seed", options.seed, "Of the bootstrap intervals")
      ->check(not_negative())
      ->capture_default_str();
  command.add_flag("--json", options.json, "Print JSON");
}

// What a command says after its rows: the run's error, or that Ctrl-C left only the windows before.
Status outcome_of(const Result<TextRun>& run) {
  if (!run) return std::unexpected(run.error());
  if (!run->stopped) return {};
  return fail(ErrorCode::kCancelled, "interrupted; what is printed is of the windows before");
}

Result<Windows> windows_of(const TextBench& bench, const TextOptions& options, std::uint32_t context) {
  const Tokenizer& tokenizer = bench.engine->tokenizer();
  WindowSlices plan{.context = context, .stride = options.stride, .skip = options.skip};
  if (options.max_windows != 0) plan.max_windows = options.max_windows;
  return Windows::make(bench.tokens, tokenizer.adds_bos() ? tokenizer.bos() : std::nullopt, plan);
}

// One judged engine per recipe.
Result<std::vector<std::unique_ptr<JudgedEngine>>> judged_engines(const TextBench& bench, const TextOptions& options,
                                                                  std::uint32_t context) {
  std::vector<std::unique_ptr<JudgedEngine>> engines;
  for (const EvalRecipe& recipe : bench.recipes) {
    CAIRN_TRY(engines.emplace_back(), JudgedEngine::make(*bench.engine, recipe, cache_for(options, context)));
  }
  return engines;
}

// An engine on the exact cache: the codec of --codec without parts.
Result<std::unique_ptr<JudgedEngine>> exact_engine(const TextBench& bench, const TextOptions& options,
                                                   std::uint32_t context) {
  CAIRN_TRY(const EvalRecipe recipe, parse_recipe(options.model.codec));
  return JudgedEngine::make(*bench.engine, recipe, cache_for(options, context));
}

// Everything that can be wrong with the options is found here, before anything is computed. Errors: those of
// parse_recipe, read_utf8_text, Engine::load and Windows::make; kTooLong for contexts beyond the model's.
Result<TextBench> open_text_bench(const TextOptions& options) {
  TextBench bench;
  const std::vector<std::string> codec_alone = {options.model.codec};
  for (const std::string& text : options.recipes.empty() ? codec_alone : options.recipes) {
    CAIRN_TRY(EvalRecipe recipe, parse_recipe(text));
    const bool twice = std::ranges::find(bench.recipes, recipe.text, &EvalRecipe::text) != bench.recipes.end();
    if (!twice) bench.recipes.push_back(std::move(recipe));
  }
  CAIRN_TRY(const std::string text, read_utf8_text(options.text));
  CAIRN_TRY(bench.engine, load_engine(options.model, /*reuse=*/false));
  bench.tokens = bench.engine->tokenizer().encode(text);
  for (const std::uint32_t context : options.contexts) {
    if (std::ranges::count(bench.contexts, context) > 0) continue;
    bench.contexts.push_back(context);
    if (context > bench.engine->context()) {
      return fail(ErrorCode::kTooLong, "a context of " + std::to_string(context) + " tokens exceeds the model's " +
                                           std::to_string(bench.engine->context()) +
                                           "; choose smaller --contexts, or raise --ctx to measure beyond it");
    }
    CAIRN_TRY_VOID(windows_of(bench, options, context));
    CAIRN_TRY(const auto engines, judged_engines(bench, options, context));
    for (const auto& engine : engines) CAIRN_TRY_VOID(check_budget(*engine, context, options.model.kv_budget));
  }
  return bench;
}

// In memory, and in a store where that is another form.
std::string bits_text(double bits, double stored_bits) {
  return format_number(bits, 2) + (stored_bits > 0 ? " (stored " + format_number(stored_bits, 2) + ")" : "");
}

Status run_ppl(const TextOptions& options) {
  const InterruptScope interrupt;
  CAIRN_TRY(const TextBench bench, open_text_bench(options));
  Json report = result_head("cairn.eval.ppl.v1", *bench.engine, options.model.model);
  report["text"] = {{"file", options.text}, {"tokens", bench.tokens.size()}};
  report["rows"] = Json::array();
  std::vector<std::vector<std::string>> table = {
      {"recipe", "context", "windows", "tokens", "bytes/token", "bits/value", "perplexity"}};
  Status outcome;
  for (const std::uint32_t context : bench.contexts) {
    CAIRN_TRY(const Windows windows, windows_of(bench, options, context));
    CAIRN_TRY(const auto judged, judged_engines(bench, options, context));
    Progress progress("Context " + std::to_string(context));
    const Result<TextRun> run =
        run_text({}, judged, windows, {.on_progress = progress.counter(), .cancel = &interrupt_flag()});
    progress.finish();
    outcome = outcome_of(run);
    for (std::size_t r = 0; run && r < judged.size(); ++r) {
      const JudgedText& text = run->recipes[r];
      const TextSummary summary = summarise(text.windows, {}, options.seed);
      report["rows"].push_back({{"recipe", bench.recipes[r].text},
                                {"context", context},
                                {"windows", summary.windows},
                                {"tokens", summary.tokens},
                                {"bytes_per_token", text.cost.bytes_per_token},
                                {"bits_per_value", text.cost.bits_per_value},
                                {"stored_bits_per_value", text.cost.stored_bits},
                                {"perplexity", estimate_json(summary.perplexity)}});
      table.push_back({bench.recipes[r].text, std::to_string(context), std::to_string(summary.windows),
                       std::to_string(summary.tokens), format_number(text.cost.bytes_per_token, 0),
                       bits_text(text.cost.bits_per_value, text.cost.stored_bits),
                       format_estimate(summary.perplexity, 3)});
    }
    if (!outcome) break;
  }
  if (!outcome && report["rows"].empty()) return outcome;
  report["complete"] = outcome.has_value();
  std::cout << (options.json ? dump_json(report) : format_table(table));
  return outcome;
}

struct KldOptions {
  TextOptions text;
  std::string reference;       // read from here instead of running the exact cache
  std::string save_reference;  // written there
};

Json row_json(const std::string& recipe, std::uint32_t context, const CacheCost& cost, const TextSummary& summary) {
  return {{"recipe", recipe},
          {"context", context},
          {"windows", summary.windows},
          {"tokens", summary.tokens},
          {"bytes_per_token", cost.bytes_per_token},
          {"bits_per_value", cost.bits_per_value},
          {"stored_bits_per_value", cost.stored_bits},
          {"kl",
           {{"mean", estimate_json(summary.kl_mean)},
            {"median", estimate_json(summary.kl_median)},
            {"p95", estimate_json(summary.kl_p95)},
            {"p99", estimate_json(summary.kl_p99)},
            {"max", estimate_json(summary.kl_max)}}},
          {"same_top1", estimate_json(summary.same_top1)},
          {"perplexity", estimate_json(summary.perplexity)},
          {"reference_perplexity", estimate_json(summary.exact_perplexity)},
          {"perplexity_ratio", estimate_json(summary.perplexity_ratio)}};
}

std::vector<std::string> table_row(const Json& row) {
  const auto number = [](const Json& estimate, int digits) {
    return format_number(estimate.at("value").get<double>(), digits);
  };
  const auto interval = [](const Json& estimate, int digits) {
    return format_estimate({estimate.at("value"), estimate.at("low"), estimate.at("high")}, digits);
  };
  const Json& kl = row.at("kl");
  return {row.at("recipe").get<std::string>(),
          std::to_string(row.at("context").get<int>()),
          format_number(row.at("bytes_per_token"), 0),
          bits_text(row.at("bits_per_value"), row.at("stored_bits_per_value")),
          interval(kl.at("mean"), 5),
          number(kl.at("median"), 5),
          number(kl.at("p95"), 4),
          number(kl.at("p99"), 4),
          number(kl.at("max"), 3),
          format_number(row.at("same_top1").at("value").get<double>() * 100, 2) + " %",
          interval(row.at("perplexity_ratio"), 4)};
}

// The exact distributions of one window layout: an engine or a file, and a file to save to.
struct Exact {
  std::unique_ptr<JudgedEngine> engine;
  std::unique_ptr<ReferenceReader> reader;
  std::unique_ptr<ReferenceWriter> writer;
};

Result<Exact> open_exact(const TextBench& bench, const KldOptions& options, const Windows& windows) {
  Exact exact;
  CAIRN_TRY(exact.engine, exact_engine(bench, options.text, windows.context()));
  const Digest subject = windows_digest(exact.engine->engine(), windows);
  const std::uint64_t rows = std::uint64_t{windows.size()} * windows.predictions();
  const std::uint32_t vocab = bench.engine->config().vocab;
  if (!options.reference.empty()) {
    exact.engine.reset();
    CAIRN_TRY(exact.reader, ReferenceReader::open(options.reference, subject, vocab, rows));
  } else if (!options.save_reference.empty()) {
    CAIRN_TRY(exact.writer, ReferenceWriter::create(options.save_reference, subject, vocab, rows));
  }
  return exact;
}

Status run_kld(const KldOptions& options) {
  const bool with_file = !options.reference.empty() || !options.save_reference.empty();
  if (with_file && options.text.contexts.size() != 1) {
    return fail(ErrorCode::kInvalidArgument, "a reference file holds one context length; give one in --contexts");
  }
  const InterruptScope interrupt;
  CAIRN_TRY(const TextBench bench, open_text_bench(options.text));
  Json report = result_head("cairn.eval.kld.v1", *bench.engine, options.text.model.model);
  report["text"] = {{"file", options.text.text}, {"tokens", bench.tokens.size()}};
  report["settings"] = {
      {"exact", options.text.model.codec},   {"contexts", options.text.contexts},
      {"stride", options.text.stride},       {"skip", options.text.skip ? Json(*options.text.skip) : Json("half")},
      {"windows", options.text.max_windows}, {"seed", options.text.seed}};
  report["rows"] = Json::array();
  Status outcome;
  for (const std::uint32_t context : bench.contexts) {
    CAIRN_TRY(const Windows windows, windows_of(bench, options.text, context));
    CAIRN_TRY(const auto judged, judged_engines(bench, options.text, context));
    CAIRN_TRY(const Exact exact, open_exact(bench, options, windows));
    Progress progress("Context " + std::to_string(context));
    const Result<TextRun> run = run_text({exact.engine.get(), exact.reader.get(), exact.writer.get()}, judged, windows,
                                         {.on_progress = progress.counter(), .cancel = &interrupt_flag()});
    progress.finish();
    outcome = outcome_of(run);
    if (outcome && exact.writer != nullptr) outcome = exact.writer->finish();
    for (std::size_t r = 0; run && r < judged.size(); ++r) {
      const JudgedText& text = run->recipes[r];
      report["rows"].push_back(
          row_json(bench.recipes[r].text, context, text.cost, summarise(text.windows, run->exact, options.text.seed)));
    }
    if (!outcome) break;
  }
  if (!outcome && report["rows"].empty()) return outcome;
  report["complete"] = outcome.has_value();
  if (options.text.json) {
    std::cout << dump_json(report);
    return outcome;
  }
  std::vector<std::vector<std::string>> table = {{"recipe", "context", "bytes/token", "bits/value", "mean KL [95 %]",
                                                  "median", "p95", "p99", "max", "same top-1", "perplexity ratio"}};
  for (const Json& row : report["rows"]) table.push_back(table_row(row));
  std::cout << format_table(table);
  return outcome;
}

}  // namespace

void add_eval_ppl_command(CLI::App& eval, Status& outcome) {
  CLI::App* command = eval.add_subcommand("ppl", "Perplexity of a text, strided windows");
  auto options = std::make_shared<TextOptions>();
  add_text_options(*command, *options);
  command->callback([options, &outcome] { outcome = run_ppl(*options); });
}

void add_eval_kld_command(CLI::App& eval, Status& outcome) {
  CLI::App* command = eval.add_subcommand("kld", "KL divergence of next-token distributions from the exact cache");
  auto options = std::make_shared<KldOptions>();
  add_text_options(*command, options->text);
  command->add_option("--save-reference", options->save_reference, "Keep the exact logits in this file");
  command->add_option("--reference", options->reference, "Use the exact logits of an earlier run")
      ->excludes("--save-reference");
  command->callback([options, &outcome] { outcome = run_kld(*options); });
}

}  // namespace cairn::cli

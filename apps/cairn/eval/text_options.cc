// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/text_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

#include "apps/cairn/input.h"
#include "apps/cairn/options.h"

namespace cairn::cli {
namespace {

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

}  // namespace

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

Result<TextBench> open_text_bench(const TextOptions& options) {
  TextBench bench;
  const std::vector<std::string> codec_alone = {options.model.codec};
  for (const std::string& text : options.recipes.empty() ? codec_alone : options.recipes) {
    CAIRN_TRY(EvalRecipe recipe, parse_recipe(text));
    const bool twice = std::ranges::find(bench.recipes, recipe.text, &EvalRecipe::text) != bench.recipes.end();
    if (!twice) bench.recipes.push_back(std::move(recipe));
  }
  CAIRN_TRY(const std::string text, read_text(options.text));
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

Result<std::vector<std::unique_ptr<JudgedEngine>>> judged_engines(const TextBench& bench, const TextOptions& options,
                                                                  std::uint32_t context) {
  std::vector<std::unique_ptr<JudgedEngine>> engines;
  for (const EvalRecipe& recipe : bench.recipes) {
    CAIRN_TRY(engines.emplace_back(), JudgedEngine::make(*bench.engine, recipe, cache_for(options, context)));
  }
  return engines;
}

Result<std::unique_ptr<JudgedEngine>> exact_engine(const TextBench& bench, const TextOptions& options,
                                                   std::uint32_t context) {
  CAIRN_TRY(const EvalRecipe recipe, parse_recipe(options.model.codec));
  return JudgedEngine::make(*bench.engine, recipe, cache_for(options, context));
}

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/text_options.h"

#include <algorithm>
#include <utility>

#include "apps/cairn/text.h"

namespace cairn {
namespace {

EngineOptions cache_for(const TextOptions& options, std::uint32_t context) {
  return {.kv_budget_bytes = options.model.kv_budget, .context = context};
}

}  // namespace

void add_text_options(CLI::App& command, TextOptions& options) {
  add_model_options(command, options.model);
  command.add_option("text", options.text, "The text, a UTF-8 file; - for standard input")->required();
  command.add_option("--recipes", options.recipes, "What to judge, as --recipes raw_f16,raw_f16+drop=0.2")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--contexts", options.contexts, "Tokens of a window, as --contexts 512,1024")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--stride", options.stride, "Tokens from one window to the next; 0: the context")
      ->capture_default_str();
  command.add_option("--skip", options.skip, "Tokens of a window that are context only; default: half of it");
  command.add_option("--windows", options.most_windows, "At most so many windows; 0: all of the text")
      ->capture_default_str();
  command.add_option("--seed", options.seed, "Of the bootstrap intervals")->capture_default_str();
  command.add_flag("--json", options.json, "Print JSON");
}

Result<TextBench> open_text_bench(const TextOptions& options) {
  TextBench bench;
  for (const std::string& text : options.recipes) {
    CAIRN_TRY(EvalRecipe recipe, parse_recipe(text));
    const bool twice = std::ranges::find(bench.recipes, recipe.text, &EvalRecipe::text) != bench.recipes.end();
    if (!twice) bench.recipes.push_back(std::move(recipe));
  }
  CAIRN_TRY(const std::string text, read_text(options.text));
  CAIRN_TRY(bench.engine, load_engine(options.model, /*reuse=*/false));
  bench.tokens = bench.engine->tokenizer().encode(text);
  for (const std::uint32_t context : options.contexts) {
    if (context > bench.engine->context()) {
      return fail(ErrorCode::kTooLong, "a context of " + std::to_string(context) + " tokens exceeds the model's " +
                                           std::to_string(bench.engine->context()) +
                                           "; choose smaller --contexts, or raise --ctx to measure beyond it");
    }
    CAIRN_TRY_VOID(windows_of(bench, options, context));
    CAIRN_TRY_VOID(judged_engines(bench, options, context));
  }
  return bench;
}

Result<Windows> windows_of(const TextBench& bench, const TextOptions& options, std::uint32_t context) {
  const Tokenizer& tokenizer = bench.engine->tokenizer();
  WindowPlan plan{.context = context, .stride = options.stride, .skip = options.skip};
  if (options.most_windows != 0) plan.most_windows = options.most_windows;
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

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// What `cairn eval ppl` and `cairn eval kld` share: a model, a text, windows, recipes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/cairn/model_options.h"
#include "apps/cairn/options.h"
#include "cairn/base/result.h"
#include "cairn/eval/judged_engine.h"
#include "cairn/eval/text_run.h"

namespace cairn::cli {

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

void add_text_options(CLI::App& command, TextOptions& options);

// A loaded model with its tokenised text and recipes, all checked.
struct TextBench {
  std::unique_ptr<Engine> engine;  // its own cache is not used
  std::vector<TokenId> tokens;
  std::vector<EvalRecipe> recipes;
  std::vector<std::uint32_t> contexts;  // none twice
};

// Everything that can be wrong with the options is found here, before anything is computed. Errors: those of
// parse_recipe, read_text, Engine::load and Windows::make; kTooLong for contexts beyond the model's.
Result<TextBench> open_text_bench(const TextOptions& options);

Result<Windows> windows_of(const TextBench& bench, const TextOptions& options, std::uint32_t context);

// What a command says after its rows: the run's error, or that Ctrl-C left only the windows before.
Status outcome_of(const Result<TextRun>& run);

// One judged engine per recipe.
Result<std::vector<std::unique_ptr<JudgedEngine>>> judged_engines(const TextBench& bench, const TextOptions& options,
                                                                  std::uint32_t context);

// An engine on the exact cache: the codec of --codec without parts.
Result<std::unique_ptr<JudgedEngine>> exact_engine(const TextBench& bench, const TextOptions& options,
                                                   std::uint32_t context);

}  // namespace cairn::cli

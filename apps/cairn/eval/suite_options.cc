// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/suite_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

#include "apps/cairn/options.h"
#include "cairn/eval/tasks/task_table.h"

namespace cairn::cli {

void add_session_options(CLI::App& command, SessionOptions& options) {
  add_model_options(command, options.model);
  command.add_option("--tasks", options.tasks, "As --tasks S1,S9; none: no task; default: all twelve")->delimiter(',');
  command
      .add_option("--contexts", options.contexts,
                  "Tokens of a session, questions and answers included; default: 512, 1024, ... as far as the model "
                  "goes, at most 8192")
      ->delimiter(',');
  command.add_option("--sessions", options.sessions, "Sessions of each task and context; default: 6")
      ->check(CLI::Range(1, 100000));
  command.add_option("--turns", options.turns, "Questions of a session; default: 5")->check(CLI::Range(1u, kMaxTurns));
  command.add_option("--seed", options.seed, "Of the sessions")->check(not_negative())->capture_default_str();
}

void add_suite_options(CLI::App& command, SuiteOptions& options) {
  add_session_options(command, options);
  command
      .add_option("--recipes", options.recipes,
                  "What to judge, beside the exact cache of --codec that all are paired with")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--data", options.data, "Real sessions too: SQuAD JSON, SCBench or passkey JSON lines")
      ->delimiter(',');
  command
      .add_option("--jobs", options.jobs,
                  "Sessions at once, each with its own copy of the weights; 0: one per thread where memory allows")
      ->check(CLI::Range(0, 512))
      ->capture_default_str();
  command.add_option("--out", options.out, "Write OUT.json and OUT.md, and OUT.journal to go on from after a stop");
  command.add_flag("--quick", options.quick,
                   "A look, not a result: two sessions of three turns at the shortest context, unless given");
  command.add_flag("--no-controls", options.no_controls, "Leave out the controls");
  command.add_flag("--json", options.json, "Print JSON instead of Markdown");
}

Result<eval::SuiteSettings> suite_settings(const SessionOptions& options, std::uint32_t model_context) {
  eval::SuiteSettings settings{.tasks = {},
                               .contexts = options.contexts,
                               .sessions = options.sessions.value_or(options.quick ? 2 : 6),
                               .turns = options.turns.value_or(options.quick ? 3 : 5),
                               .seed = options.seed};
  const bool none = options.tasks == std::vector<std::string>{"none"};
  for (const std::string& name : none ? std::vector<std::string>{} : options.tasks) {
    CAIRN_TRY(const tasks::Task* task, tasks::find_task(name));
    if (std::ranges::find(settings.tasks, task->name) == settings.tasks.end()) settings.tasks.emplace_back(task->name);
  }
  if (options.tasks.empty()) {
    for (const tasks::Task& task : tasks::task_table()) settings.tasks.emplace_back(task.name);
  }
  if (settings.contexts.empty()) {
    const std::uint32_t longest = options.quick ? 512 : 8192;
    for (std::uint32_t context = 512; context <= std::min(model_context, longest); context *= 2) {
      settings.contexts.push_back(context);
    }
    if (settings.contexts.empty()) settings.contexts = {model_context};
  }
  std::ranges::sort(settings.contexts);
  settings.contexts.erase(std::unique(settings.contexts.begin(), settings.contexts.end()), settings.contexts.end());
  if (settings.contexts.back() > model_context) {
    return fail(ErrorCode::kTooLong, "a context of " + std::to_string(settings.contexts.back()) +
                                         " tokens exceeds the model's " + std::to_string(model_context) +
                                         "; choose smaller --contexts, or raise --ctx to measure beyond it");
  }
  return settings;
}

Result<std::vector<EvalRecipe>> suite_recipes(const SuiteOptions& options) {
  CAIRN_TRY(EvalRecipe exact, parse_recipe(options.model.codec));
  std::vector<EvalRecipe> recipes = {std::move(exact)};
  for (const std::string& text : options.recipes) {
    CAIRN_TRY(EvalRecipe recipe, parse_recipe(text));
    if (std::ranges::find(recipes, recipe.text, &EvalRecipe::text) == recipes.end()) {
      recipes.push_back(std::move(recipe));
    }
  }
  return recipes;
}

}  // namespace cairn::cli

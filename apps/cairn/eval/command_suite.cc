// SPDX-License-Identifier: Apache-2.0
// cairn eval suite: which questions on a shared context a recipe still answers. cairn eval items: the sessions of the
// suite as JSON lines, to look at or to train on.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/cairn/eval/eval_commands.h"
#include "apps/cairn/eval/eval_json.h"
#include "apps/cairn/eval/session_options.h"
#include "apps/cairn/eval/suite_runs.h"
#include "apps/cairn/input.h"
#include "apps/cairn/model_options.h"
#include "apps/cairn/terminal.h"
#include "cairn/base/file.h"
#include "cairn/base/result.h"
#include "cairn/eval/suite.h"
#include "cairn/eval/suite_report.h"

namespace cairn::cli {
namespace {

constexpr std::string_view kSuiteFiles[] = {".json", ".md"};

struct SuiteOptions : SuiteRunOptions {
  std::vector<std::string> recipes = {"raw_f16+evict=0.5"};  // beside the exact cache
};

void add_suite_options(CLI::App& command, SuiteOptions& options) {
  add_session_options(command, options);
  add_run_options(command, options, "OUT.json and OUT.md");
  command
      .add_option("--recipes", options.recipes,
                  "What to judge, beside the exact cache of --codec that all are paired with")
      ->delimiter(',')
      ->capture_default_str();
  command.add_flag("--quick", options.quick,
                   "A look, not a result: two sessions of three turns at the shortest context, unless given");
}

// The exact cache first, none twice. Errors: those of parse_recipe.
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

Result<eval::SuiteRunSettings> make_plan(const SuiteOptions& options, const std::vector<EvalRecipe>& recipes,
                                         const Engine& engine) {
  eval::SuiteRunSettings plan;
  CAIRN_TRY(plan.settings, suite_settings(options, engine.context()));
  const PageShape shape = engine.config().each_layer.front().cache.shape;
  CAIRN_TRY(plan.contenders, eval::contenders_of(recipes, {engine.config().layers, shape, &engine.recipe().weights},
                                                 !options.no_controls));
  CAIRN_TRY_VOID(complete_plan(options, engine, plan));
  return plan;
}

Status run_suite_command(const SuiteOptions& options) {
  const InterruptScope interrupt;
  CAIRN_TRY(const std::vector<EvalRecipe> recipes, suite_recipes(options));
  if (!options.out.empty()) CAIRN_TRY_VOID(check_output(options.out, kSuiteFiles));
  CAIRN_TRY(std::unique_ptr<Engine> engine, load_engine(options.model, /*reuse=*/false));
  CAIRN_TRY(const eval::SuiteRunSettings plan, make_plan(options, recipes, *engine));
  const Json head = eval::suite_head(result_head("cairn.eval.suite.v1", *engine, options.model.model), plan);
  const std::string model_name = engine->config().name.empty() ? options.model.model : engine->config().name;
  CAIRN_TRY(const auto answers, answer_plan(options, plan, head, std::move(engine)));
  const std::string json = dump_json(eval::suite_json(head, plan, answers));
  const std::string markdown = eval::suite_markdown(plan, answers, model_name);
  if (!options.out.empty()) {
    CAIRN_TRY_VOID(write_file(options.out + ".json", json));
    CAIRN_TRY_VOID(write_file(options.out + ".md", markdown));
  }
  std::cout << (options.json ? json : markdown);
  return {};
}

struct ItemsOptions {
  SessionOptions sessions;
  bool rule = false;
};

Json session_json(const EvalSession& session) {
  Json turns = Json::array();
  for (const Turn& turn : session.turns) {
    turns.push_back({{"query", turn.query}, {"answer", turn.answer}, {"column", turn.column}, {"depth", turn.depth}});
    if (!turn.lead.empty()) turns.back()["lead"] = turn.lead;
  }
  return {{"task", session.task},
          {"index", session.index},
          {"context_tokens", session.context_tokens},
          {"instruction", session.instruction},
          {"context", session.context},
          {"turns", std::move(turns)}};
}

Status run_items(const ItemsOptions& options) {
  CAIRN_TRY(const std::unique_ptr<Engine> engine, load_engine(options.sessions.model, /*reuse=*/false));
  CAIRN_TRY(const eval::SuiteSettings settings, suite_settings(options.sessions, engine->context()));
  const eval::Control control = options.rule ? eval::Control::kInstruction : eval::Control::kNone;
  for (const std::string& task : settings.tasks) {
    for (const std::uint32_t context : settings.contexts) {
      for (std::uint32_t index = 0; index < settings.sessions; ++index) {
        CAIRN_TRY(const EvalSession session,
                  eval::session_of({0, task, context, index}, control, settings, engine->tokenizer()));
        std::cout << eval::json_line(session_json(session));
        if (!std::cout) return fail(ErrorCode::kIo, "cannot write to standard output");
      }
    }
  }
  return {};
}

}  // namespace

void add_eval_suite_command(CLI::App& eval, Status& outcome) {
  CLI::App* command = eval.add_subcommand("suite",
                                          "Shared-context questions: twelve task kinds, multi-turn and "
                                          "multi-request");
  auto options = std::make_shared<SuiteOptions>();
  add_suite_options(*command, *options);
  command->callback([options, &outcome] { outcome = run_suite_command(*options); });
}

void add_eval_items_command(CLI::App& eval, Status& outcome) {
  CLI::App* command = eval.add_subcommand("items", "The sessions of the suite as JSON lines");
  auto options = std::make_shared<ItemsOptions>();
  add_session_options(*command, options->sessions);
  command->add_flag("--rule", options->rule, "With the instruction of the control of that name");
  command->callback([options, &outcome] { outcome = run_items(*options); });
}

}  // namespace cairn::cli

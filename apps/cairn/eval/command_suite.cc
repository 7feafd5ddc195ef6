// SPDX-License-Identifier: Apache-2.0
// cairn eval suite: which questions on a shared context a recipe still answers.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "apps/cairn/eval/data_files.h"
#include "apps/cairn/eval/eval_commands.h"
#include "apps/cairn/eval/suite_journal.h"
#include "apps/cairn/eval/suite_json.h"
#include "apps/cairn/eval/suite_markdown.h"
#include "apps/cairn/eval/suite_options.h"
#include "apps/cairn/eval/suite_run.h"
#include "apps/cairn/input.h"
#include "cairn/base/file.h"

namespace cairn::cli {
namespace {

// Data sessions have contexts of their own; their cells carry the longest context of the run.
void add_data_cells(SuiteRunSettings& plan) {
  std::vector<Cell> cells;
  for (std::size_t c = 0; c < plan.contenders.size(); ++c) {
    std::ranges::copy_if(plan.cells, std::back_inserter(cells), [c](const Cell& cell) { return cell.contender == c; });
    const Control control = plan.contenders[c].control;
    if (control != Control::kNone && control != Control::kRandomEviction && control != Control::kNoContext) continue;
    for (const auto& [name, sessions] : plan.data) {
      for (std::uint32_t i = 0; i < sessions.size(); ++i) {
        cells.push_back({c, name, plan.settings.contexts.back(), i});
      }
    }
  }
  plan.cells = std::move(cells);
}

// Of so many sessions; where all of them can be made, the others can too.
constexpr std::uint32_t kTriedSessions = 8;

// Whatever cannot be asked with this tokenizer is found before anything is computed, and the rest is asked. An error
// when nothing is left.
Status leave_out_impossible(SuiteRunSettings& plan, const Tokenizer& tokenizer) {
  std::map<std::pair<std::string, std::uint32_t>, std::string> why;  // by task and context
  std::set<std::tuple<std::string, std::uint32_t, std::uint32_t, Control>> made;
  for (const Cell& cell : plan.cells) {
    const Control control = plan.contenders[cell.contender].control;
    if (cell.index >= kTriedSessions || plan.data.contains(cell.task) || why.contains({cell.task, cell.context}) ||
        !made.emplace(cell.task, cell.context, cell.index, control).second) {
      continue;
    }
    const Result<Session> session = session_of(cell, control, plan.settings, tokenizer);
    if (!session) why[{cell.task, cell.context}] = session.error().message;
  }
  std::erase_if(plan.cells, [&](const Cell& cell) { return why.contains({cell.task, cell.context}); });
  if (plan.cells.empty()) return fail(ErrorCode::kInvalidArgument, why.begin()->second);
  for (const auto& [place, reason] : why) {
    plan.left_out.push_back(place.first + " at " + std::to_string(place.second));
    std::cerr << "cairn: " << plan.left_out.back() << " tokens is left out: " << reason << '\n';
  }
  return {};
}

// Recipes that this model cannot follow and a budget that a session cannot live in are found at the start.
Status check_contenders(const SuiteRunSettings& plan, const ModelOptions& model, const Engine& engine) {
  // Forks copy the open tail and add a block or two for the question and the answer of every turn in both modes.
  const std::size_t blocks = plan.settings.contexts.back() / kBlockTokens + 1 + 2 * 3 * plan.settings.turns;
  for (const Contender& contender : plan.contenders) {
    CAIRN_TRY(const auto judged, JudgedEngine::make(engine, contender.recipe, {.kv_budget_bytes = model.kv_budget}));
    const std::size_t needed = blocks * kBlockTokens * judged->engine().cache().bytes_per_token();
    if (needed <= model.kv_budget) continue;
    return fail(ErrorCode::kOutOfBudget, "sessions of " + std::to_string(plan.settings.contexts.back()) +
                                             " tokens need " + std::to_string(needed) +
                                             " bytes of keys and values; raise --kv-budget");
  }
  return {};
}

// Results must not be lost at the end for want of a place.
Status check_output(const std::string& out) {
  for (const char* suffix : {".json", ".md"}) {
    const std::string path = out + suffix;
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (out.ends_with('/') || (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))) {
      return fail(ErrorCode::kInvalidArgument, "--out '" + out + "' cannot be: '" + path + "' is no file to write");
    }
  }
  return {};
}

Result<SuiteRunSettings> make_plan(const SuiteOptions& options, const std::vector<EvalRecipe>& recipes,
                                   const Engine& engine) {
  SuiteRunSettings plan;
  CAIRN_TRY(plan.settings, suite_settings(options, engine.context()));
  const PageShape shape{engine.config().kv_heads, engine.config().head_dim};
  CAIRN_TRY(plan.contenders,
            contenders_of(recipes, {engine.config().layers, shape, &engine.recipe().weights}, !options.no_controls));
  plan.cells = cells_of(plan.contenders, plan.settings);
  for (const std::string& path : options.data) {
    CAIRN_TRY(DataSessions loaded, load_data(path, engine.tokenizer(),
                                             {.context_tokens = plan.settings.contexts.back(),
                                              .sessions = plan.settings.sessions,
                                              .turns = plan.settings.turns}));
    if (!loaded.note.empty()) std::cerr << "cairn: " << loaded.note << '\n';
    if (!plan.data.emplace(loaded.name, std::move(loaded.sessions)).second) {
      return fail(ErrorCode::kInvalidArgument, "two data files are named '" + loaded.name + "'; rename one");
    }
  }
  add_data_cells(plan);
  CAIRN_TRY_VOID(leave_out_impossible(plan, engine.tokenizer()));
  CAIRN_TRY_VOID(check_contenders(plan, options.model, engine));
  return plan;
}

Status run_suite_command(const SuiteOptions& options) {
  const InterruptScope interrupt;
  CAIRN_TRY(const std::vector<EvalRecipe> recipes, suite_recipes(options));
  if (!options.out.empty()) CAIRN_TRY_VOID(check_output(options.out));
  CAIRN_TRY(std::unique_ptr<Engine> engine, load_engine(options.model, /*reuse=*/false));
  CAIRN_TRY(const SuiteRunSettings plan, make_plan(options, recipes, *engine));
  const Json head = suite_head(plan, *engine, options.model.model);
  const std::string model_name = engine->config().name.empty() ? options.model.model : engine->config().name;
  std::unique_ptr<SuiteJournal> journal;
  if (!options.out.empty()) {
    CAIRN_TRY(journal, SuiteJournal::open(options.out + ".journal", head));
    if (journal->size() > 0) std::cerr << "cairn: going on after " << journal->size() << " sessions\n";
    if (journal->broken_lines() > 0) {
      std::cerr << "cairn: " << journal->broken_lines() << " broken lines of the journal; their sessions run again\n";
    }
  }
  const SuiteResources resources = suite_resources(options, *engine, plan.settings.contexts.back());
  CAIRN_TRY(const auto answers, run_suite(plan, resources, std::move(engine), journal.get()));
  const std::string json = dump_json(suite_json(head, plan, answers));
  const std::string markdown = suite_markdown(plan, answers, model_name);
  if (!options.out.empty()) {
    CAIRN_TRY_VOID(write_file(options.out + ".json", json));
    CAIRN_TRY_VOID(write_file(options.out + ".md", markdown));
  }
  std::cout << (options.json ? json : markdown);
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

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
// cairn eval suite: which questions on a shared context a recipe still answers.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "apps/cairn/eval/eval_commands.h"
#include "apps/cairn/eval/eval_json.h"
#include "apps/cairn/eval/suite_options.h"
#include "apps/cairn/input.h"
#include "apps/cairn/terminal.h"
#include "cairn/base/file.h"
#include "cairn/capacity/machine.h"
#include "cairn/eval/data_files.h"
#include "cairn/eval/suite_run.h"

namespace cairn::cli {
namespace {

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

Result<eval::SuiteRunSettings> make_plan(const SuiteOptions& options, const std::vector<EvalRecipe>& recipes,
                                         const Engine& engine) {
  eval::SuiteRunSettings plan;
  CAIRN_TRY(plan.settings, suite_settings(options, engine.context()));
  const PageShape shape{engine.config().kv_heads, engine.config().head_dim};
  CAIRN_TRY(plan.contenders, eval::contenders_of(recipes, {engine.config().layers, shape, &engine.recipe().weights},
                                                 !options.no_controls));
  plan.cells = eval::cells_of(plan.contenders, plan.settings);
  for (const std::string& path : options.data) {
    CAIRN_TRY(const std::string text, read_text(path));
    CAIRN_TRY(eval::DataSessions loaded, eval::parse_data(path, text, engine.tokenizer(),
                                                          {.context_tokens = plan.settings.contexts.back(),
                                                           .sessions = plan.settings.sessions,
                                                           .turns = plan.settings.turns}));
    if (!loaded.note.empty()) std::cerr << "cairn: " << loaded.note << '\n';
    if (!plan.data.emplace(loaded.name, std::move(loaded.sessions)).second) {
      return fail(ErrorCode::kInvalidArgument, "two data files are named '" + loaded.name + "'; rename one");
    }
  }
  eval::add_data_cells(plan);
  CAIRN_TRY(const std::vector<std::string> left_out, eval::leave_out_impossible(plan, engine.tokenizer()));
  for (const std::string& line : left_out) std::cerr << "cairn: " << line << '\n';
  CAIRN_TRY_VOID(eval::check_contenders(plan, options.model.kv_budget, engine));
  return plan;
}

// As many as were asked for, or as threads and free memory allow.
unsigned workers_for(const SuiteOptions& options, Engine& engine, std::uint32_t longest_context) {
  if (options.jobs != 0) return options.jobs;
  // A session's own copies and activations come on top of weights and context.
  const double kv = 2.0 * longest_context * static_cast<double>(engine.cache().bytes_per_token());
  const double need = static_cast<double>(engine.weight_bytes()) + kv + 256e6;
  return static_cast<unsigned>(
      std::clamp(capacity::available_memory() / need, 1.0, static_cast<double>(engine.threads())));
}

Status run_suite_command(const SuiteOptions& options) {
  const InterruptScope interrupt;
  CAIRN_TRY(const std::vector<EvalRecipe> recipes, suite_recipes(options));
  if (!options.out.empty()) CAIRN_TRY_VOID(check_output(options.out));
  CAIRN_TRY(std::unique_ptr<Engine> engine, load_engine(options.model, /*reuse=*/false));
  CAIRN_TRY(const eval::SuiteRunSettings plan, make_plan(options, recipes, *engine));
  const Json head = eval::suite_head(result_head("cairn.eval.suite.v1", *engine, options.model.model), plan);
  const std::string model_name = engine->config().name.empty() ? options.model.model : engine->config().name;
  std::unique_ptr<eval::SuiteJournal> journal;
  if (!options.out.empty()) {
    CAIRN_TRY(journal, eval::SuiteJournal::open(options.out + ".journal", head));
    if (journal->size() > 0) std::cerr << "cairn: going on after " << journal->size() << " sessions\n";
    if (journal->broken_lines() > 0) {
      std::cerr << "cairn: " << journal->broken_lines() << " broken lines of the journal; their sessions run again\n";
    }
  }
  ModelOptions model = options.model;
  const unsigned workers = workers_for(options, *engine, plan.settings.contexts.back());
  model.threads = std::max(1u, engine->threads() / workers);
  Progress progress("Answering");
  const auto answered = eval::run_suite(plan,
                                        {.load = [&model] { return load_quietly(model); },
                                         .workers = workers,
                                         .kv_budget_bytes = model.kv_budget,
                                         .on_progress = [&progress](double share) { progress.update(share); },
                                         .cancel = &interrupt_flag()},
                                        std::move(engine), journal.get());
  progress.finish();
  CAIRN_TRY(const auto answers, answered);
  const std::string json = dump_json(eval::suite_json(head, plan, answers));
  const std::string markdown = eval::suite_markdown(plan, answers, model_name);
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

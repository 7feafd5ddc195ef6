// SPDX-License-Identifier: Apache-2.0
// cairn eval suite: which questions on a shared context a recipe still answers. cairn eval items: the sessions of the
// suite as JSON lines, to look at or to train on.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <filesystem>
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
#include "cairn/base/file.h"
#include "cairn/base/result.h"
#include "cairn/capacity/machine.h"
#include "cairn/eval/chat_form.h"
#include "cairn/eval/data_files.h"
#include "cairn/eval/suite.h"
#include "cairn/eval/suite_report.h"
#include "cairn/eval/suite_run.h"
#include "cairn/eval/tasks/task_table.h"
#include "cairn/gguf/gguf.h"

namespace cairn::cli {
namespace {

// Which sessions.
struct SessionOptions {
  ModelOptions model;
  std::vector<std::string> tasks;           // empty: all; "none": none
  std::vector<std::uint32_t> contexts;      // empty: 512, 1024, 2048, ... as far as the model goes, at most 8192
  std::optional<std::uint32_t> sessions{};  // of each task and context
  std::optional<std::uint32_t> turns{};
  std::uint64_t seed = 1;
  bool quick = false;  // smaller defaults for what is not given
  std::string form;    // "chat" or "plain"; empty: chat where the model file has a chat template
};

struct SuiteOptions : SessionOptions {
  std::vector<std::string> recipes = {"raw_f16+evict=0.5"};  // beside the exact cache
  std::vector<std::string> data;
  unsigned jobs = 0;
  std::string out;
  bool no_controls = false;
  bool json = false;
};

void add_session_options(CLI::App& command, SessionOptions& options) {
  add_model_options(command, options.model);
  command.add_option("--tasks", options.tasks, "As --tasks S1,S9; none: no task; default: all twelve")->delimiter(',');
  command
      .add_option("--contexts", options.contexts,
                  "Tokens of a session, questions and answers included; default: 512, 1024, ... as far as the model "
                  "goes, at most 8192")
      ->delimiter(',');
  command.add_option("--sessions", options.sessions, "Sessions of each task and context; default: 6")
      ->check(whole_number(1, 100000));
  command.add_option("--turns", options.turns, "Questions of a session; default: 5")->check(whole_number(1, kMaxTurns));
  command
      .add_option("--form", options.form,
                  "chat: contexts and questions are turns of the model's chat template; plain: a text that goes on; "
                  "default: chat where the model file has a template")
      ->check(CLI::IsMember({"chat", "plain"}));
  command.add_option("--seed", options.seed, "Of the sessions")->check(not_negative())->capture_default_str();
}

void add_suite_options(CLI::App& command, SuiteOptions& options) {
  add_session_options(command, options);
  command
      .add_option("--recipes", options.recipes,
                  "What to judge, beside the exact cache of --codec that all are paired with")
      ->delimiter(',')
      ->capture_default_str();
  command
      .add_option(
          "--data", options.data,
          "Real sessions too: SQuAD JSON, or JSON lines of passkeys, of SCBench or of {context, question, answer}")
      ->delimiter(',');
  command
      .add_option("--jobs", options.jobs,
                  "Sessions at once, each with its own copy of the weights; 0: one per thread where memory allows")
      ->check(whole_number(0, 512))
      ->capture_default_str();
  command.add_option("--out", options.out, "Write OUT.json and OUT.md, and OUT.journal to go on from after a stop");
  command.add_flag("--quick", options.quick,
                   "A look, not a result: two sessions of three turns at the shortest context, unless given");
  command.add_flag("--no-controls", options.no_controls, "Leave out the controls");
  command.add_flag("--json", options.json, "Print JSON instead of Markdown");
}

// Null: the plain form. Errors: kInvalidArgument (no template to chat with), those of ChatTemplate::of_model.
Result<std::shared_ptr<const ChatForm>> chat_form(const SessionOptions& options) {
  if (options.form == "plain") return nullptr;
  CAIRN_TRY(const GgufFile file, GgufFile::open(options.model.model));
  CAIRN_TRY(const std::string text, file.get_or<std::string>("tokenizer.chat_template", ""));
  if (text.empty() && options.form.empty()) return nullptr;
  if (text.empty()) {
    return fail(ErrorCode::kInvalidArgument,
                "'" + options.model.model + "' has no chat template; use --form plain, the form for base models");
  }
  CAIRN_TRY(ChatTemplate chat_template, ChatTemplate::of_model(file));
  return std::make_shared<const ChatForm>(std::move(chat_template));
}

// Settings for a model of this context. Errors: kInvalidArgument, kTooLong, those of chat_form.
Result<eval::SuiteSettings> suite_settings(const SessionOptions& options, std::uint32_t model_context) {
  eval::SuiteSettings settings{.tasks = {},
                               .contexts = options.contexts,
                               .sessions = options.sessions.value_or(options.quick ? 2 : 6),
                               .turns = options.turns.value_or(options.quick ? 3 : 5),
                               .seed = options.seed};
  CAIRN_TRY(settings.chat, chat_form(options));
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
  const PageShape shape = engine.config().each_layer.front().cache.shape;
  CAIRN_TRY(plan.contenders, eval::contenders_of(recipes, {engine.config().layers, shape, &engine.recipe().weights},
                                                 !options.no_controls));
  plan.cells = eval::cells_of(plan.contenders, plan.settings);
  for (const std::string& path : options.data) {
    CAIRN_TRY(const std::string text, read_text(path));
    CAIRN_TRY(eval::DataSessions loaded, eval::parse_data(path, text, engine.tokenizer(),
                                                          {.context_tokens = plan.settings.contexts.back(),
                                                           .sessions = plan.settings.sessions,
                                                           .turns = plan.settings.turns,
                                                           .chat = plan.settings.chat}));
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
  const double kv = 2.0 * static_cast<double>(engine.cache().bytes_of(longest_context));
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

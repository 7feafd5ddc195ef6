// SPDX-License-Identifier: Apache-2.0
// cairn eval board: every token policy at every budget on every codec, as one run of the suite with tables and a page.
#include <CLI/CLI.hpp>
#include <algorithm>
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
#include "cairn/eval/board.h"
#include "cairn/eval/board_report.h"
#include "cairn/eval/suite_report.h"

namespace cairn::cli {
namespace {

constexpr std::string_view kBoardFiles[] = {".json", ".md", ".html"};

struct BoardOptions : SuiteRunOptions {
  std::vector<std::string> policies;  // empty: all, or a few with --quick
  std::vector<double> budgets;
  std::vector<std::string> codecs;
};

void add_board_options(CLI::App& command, BoardOptions& options) {
  add_session_options(command, options, "1024");
  add_run_options(command, options, "OUT.json, OUT.md and OUT.html");
  command
      .add_option("--policies", options.policies,
                  "As --policies quest,snapkv/budget=prefix; default: all, see docs/policies.md")
      ->delimiter(',');
  command
      .add_option("--budgets", options.budgets,
                  "Shares of the tokens that stay or are read; default: 1,0.5,0.25,0.125,0.0625, where 1 is the codec "
                  "without a policy")
      ->delimiter(',');
  command.add_option("--codecs", options.codecs, "What the policies run on; default: raw_f16,tok4,kivi4-g64")
      ->delimiter(',');
  command.add_flag("--quick", options.quick,
                   "Seconds, to see that it runs: one session of S1 at 512 tokens, three policies, two codecs, unless "
                   "given");
}

template <class T>
void fill_in(std::vector<T>& given, std::vector<T> otherwise) {
  if (given.empty()) given = std::move(otherwise);
}

BoardOptions with_defaults(BoardOptions options) {
  if (options.quick) {
    fill_in(options.policies, {"quest", "keydiff", "snapkv"});
    fill_in(options.budgets, {1, 0.5, 0.125});
    fill_in(options.codecs, {"raw_f16", "tok4"});
    fill_in(options.contexts, {512});
    fill_in(options.tasks, {"S1"});
    options.sessions = options.sessions.value_or(1);
    options.turns = options.turns.value_or(2);
  }
  fill_in(options.budgets, {1, 0.5, 0.25, 0.125, 0.0625});
  fill_in(options.codecs, {"raw_f16", "tok4", "kivi4-g64"});
  return options;
}

// What a reader can type to get the same, with options in the order of --help.
std::string command_line(const CLI::App& command) {
  std::string text = "cairn eval " + command.get_name();
  for (const CLI::Option* option : command.get_options()) {
    if (option->count() == 0) continue;
    const bool flag = option->get_items_expected_max() == 0;
    std::string values;
    for (const std::string& value : flag ? std::vector<std::string>{} : option->results()) {
      values += (values.empty() ? " " : ",") + value;
    }
    text += " " + option->get_name() + values;
  }
  return text;
}

Status run_board(const BoardOptions& given, const std::string& typed) {
  const InterruptScope interrupt;
  BoardOptions options = with_defaults(given);
  CAIRN_TRY(eval::BoardPlan board, eval::plan_board({.policies = options.policies,
                                                     .budgets = options.budgets,
                                                     .codecs = options.codecs,
                                                     .controls = !options.no_controls},
                                                    options.model.codec));
  if (!options.out.empty()) CAIRN_TRY_VOID(check_output(options.out, kBoardFiles));
  CAIRN_TRY(std::unique_ptr<Engine> engine, load_engine(options.model, /*reuse=*/false));
  fill_in(options.contexts, {std::min(engine->context(), 1024u)});
  CAIRN_TRY_VOID(eval::leave_out_unsupported(board, *engine, options.model.kv_budget));
  for (const std::string& line : board.left_out) std::cerr << "cairn: " << line << '\n';
  eval::SuiteRunSettings plan;
  CAIRN_TRY(plan.settings, suite_settings(options, engine->context()));
  plan.contenders = eval::contenders_of(board);
  plan.left_out = board.left_out;
  CAIRN_TRY_VOID(complete_plan(options, *engine, plan));
  Json head = eval::suite_head(result_head("cairn.eval.board.v1", *engine, options.model.model), plan);
  if (head["model"]["name"] == "") head["model"]["name"] = options.model.model;
  CAIRN_TRY(const auto answers, answer_plan(options, plan, head, std::move(engine)));
  head["command"] = typed;
  const std::vector<eval::BoardRow> rows = eval::board_rows(board.entries, answers);
  const std::string json = eval::board_json(head, rows), markdown = eval::board_markdown(head, rows);
  if (!options.out.empty()) {
    CAIRN_TRY_VOID(write_file(options.out + ".json", json));
    CAIRN_TRY_VOID(write_file(options.out + ".md", markdown));
    CAIRN_TRY_VOID(write_file(options.out + ".html", eval::board_page(head, rows)));
  }
  std::cout << (options.json ? json : markdown);
  return {};
}

}  // namespace

void add_eval_board_command(CLI::App& eval, Status& outcome) {
  CLI::App* command =
      eval.add_subcommand("board", "Every token policy at every budget on every codec, with their Pareto fronts");
  auto options = std::make_shared<BoardOptions>();
  add_board_options(*command, *options);
  command->callback([command, options, &outcome] { outcome = run_board(*options, command_line(*command)); });
}

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
// cairn eval items: the sessions of the suite as JSON lines, to look at or to train on.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <string>

#include "apps/cairn/eval/eval_commands.h"
#include "apps/cairn/eval/eval_json.h"
#include "apps/cairn/eval/suite_options.h"
#include "cairn/eval/suite.h"

namespace cairn::cli {
namespace {

struct ItemsOptions {
  SessionOptions sessions;
  bool rule = false;
};

Json session_json(const Session& session) {
  Json turns = Json::array();
  for (const Turn& turn : session.turns) {
    turns.push_back({{"query", turn.query}, {"answer", turn.answer}, {"column", turn.column}, {"depth", turn.depth}});
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
        CAIRN_TRY(const Session session,
                  eval::session_of({0, task, context, index}, control, settings, engine->tokenizer()));
        std::cout << eval::json_line(session_json(session));
        if (!std::cout) return fail(ErrorCode::kIo, "cannot write to standard output");
      }
    }
  }
  return {};
}

}  // namespace

void add_eval_items_command(CLI::App& eval, Status& outcome) {
  CLI::App* command = eval.add_subcommand("items", "The sessions of the suite as JSON lines");
  auto options = std::make_shared<ItemsOptions>();
  add_session_options(*command, options->sessions);
  command->add_flag("--rule", options->rule, "With the instruction of the control of that name");
  command->callback([options, &outcome] { outcome = run_items(*options); });
}

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/session_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <utility>

#include "cairn/eval/chat_form.h"
#include "cairn/eval/tasks/task_table.h"
#include "cairn/gguf/gguf.h"

namespace cairn::cli {
namespace {

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

}  // namespace

void add_session_options(CLI::App& command, SessionOptions& options, const std::string& contexts) {
  add_model_options(command, options.model);
  command.add_option("--tasks", options.tasks, "As --tasks S1,S9; none: no task; default: all twelve")->delimiter(',');
  command
      .add_option("--contexts", options.contexts,
                  "Tokens of a session, questions and answers included; default: " + contexts)
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

}  // namespace cairn::cli

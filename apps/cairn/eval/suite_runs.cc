// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/suite_runs.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <utility>

#include "apps/cairn/input.h"
#include "apps/cairn/terminal.h"
#include "cairn/capacity/machine.h"
#include "cairn/eval/data_files.h"
#include "cairn/eval/suite_run.h"

namespace cairn::cli {
namespace {

// As many as were asked for, or as threads and free memory allow.
unsigned workers_for(const SuiteRunOptions& options, Engine& engine, std::uint32_t longest_context) {
  if (options.jobs != 0) return options.jobs;
  // A session's own copies and activations come on top of weights and context.
  const double kv = 2.0 * static_cast<double>(engine.cache().bytes_of(longest_context));
  const double need = static_cast<double>(engine.weight_bytes()) + kv + 256e6;
  return static_cast<unsigned>(
      std::clamp(capacity::available_memory() / need, 1.0, static_cast<double>(engine.threads())));
}

}  // namespace

void add_run_options(CLI::App& command, SuiteRunOptions& options, const std::string& files) {
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
  command.add_option("--out", options.out, "Write " + files + ", and OUT.journal to go on from after a stop");
  command.add_flag("--no-controls", options.no_controls, "Leave out the controls");
  command.add_flag("--json", options.json, "Print JSON instead of Markdown");
}

Status check_output(const std::string& out, std::span<const std::string_view> suffixes) {
  for (const std::string_view suffix : suffixes) {
    const std::string path = out + std::string(suffix);
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (out.ends_with('/') || (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))) {
      return fail(ErrorCode::kInvalidArgument, "--out '" + out + "' cannot be: '" + path + "' is no file to write");
    }
  }
  return {};
}

Status complete_plan(const SuiteRunOptions& options, const Engine& engine, eval::SuiteRunSettings& plan) {
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
  return eval::check_contenders(plan, options.model.kv_budget, engine);
}

Result<std::vector<eval::AnsweredCell>> answer_plan(const SuiteRunOptions& options, const eval::SuiteRunSettings& plan,
                                                    const eval::Json& head, std::unique_ptr<Engine> engine) {
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
  auto answered = eval::run_suite(plan,
                                  {.load = [&model] { return load_quietly(model); },
                                   .workers = workers,
                                   .kv_budget_bytes = model.kv_budget,
                                   .on_progress = [&progress](double share) { progress.update(share); },
                                   .cancel = &interrupt_flag()},
                                  std::move(engine), journal.get());
  progress.finish();
  return answered;
}

}  // namespace cairn::cli

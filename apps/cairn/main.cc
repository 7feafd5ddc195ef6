// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <iostream>
#include <new>
#include <string>

#include "apps/cairn/commands.h"
#include "apps/cairn/usage.h"

namespace cairn::cli {
namespace {

std::string footer() {
  std::string text =
      "Start here:\n"
      "  cairn run model.gguf                         chat\n"
      "  cairn run model.gguf -p 'Once upon'          answer one prompt\n"
      "  cairn serve model.gguf                       OpenAI-compatible server\n"
      "  cairn inspect model.gguf                     what is in the file\n"
      "  cairn COMMAND --help                         all options of a command\n\n"
      "Environment:\n"
      "  CAIRN_ISA=scalar|avx2|avx512                 force an instruction set; the results are the same\n\n"
      "Exit status:\n  0    success\n";
  for (const ExitCode& entry : kExitCodes) {
    std::string status = std::to_string(entry.status);
    status.resize(5, ' ');
    text += "  " + status + entry.meaning + "\n";
  }
  return text;
}

int report(const Error& error) {
  std::cerr << "cairn: " << error.message << '\n';
  return exit_status(error.code);
}

int run_command_line(int argc, char** argv) {
  CLI::App app("Runs language models (GGUF) on a paged, verified KV cache.");
  app.name("cairn");
  app.set_version_flag("--version", "cairn " CAIRN_VERSION " (" CAIRN_COMMIT ")");
  app.footer(footer());
  app.require_subcommand(1);
  Status outcome;
  add_run_command(app, outcome);
  add_inspect_command(app, outcome);
  add_tokenize_command(app, outcome);
  add_bench_command(app, outcome);
  add_eval_command(app, outcome);
  add_plan_command(app, outcome);
  add_tune_command(app, outcome);
  add_replay_command(app, outcome);
  add_store_command(app, outcome);
  add_serve_command(app, outcome);
  add_load_command(app, outcome);
  add_demo_command(app, outcome);
  try {
    app.parse(arguments_of(app, argc, argv));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success))
      return app.exit(error);  // --help, --version
    return report({ErrorCode::kInvalidArgument, usage_message(app, error)});
  }
  if (!outcome) return report(outcome.error());
  if (!std::cout.flush()) return report({ErrorCode::kIo, "cannot write to standard output"});
  return 0;
}

}  // namespace
}  // namespace cairn::cli

int main(int argc, char** argv) {
  // Failed writes, told by the exit status or counted by a store.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return cairn::cli::run_command_line(argc, argv);
  } catch (const std::bad_alloc&) {
    return cairn::cli::report(
        {cairn::ErrorCode::kOutOfBudget, "out of memory; use a smaller model, --ctx or --kv-budget"});
  } catch (const std::exception& error) {
    return cairn::cli::report({cairn::ErrorCode::kInternal, std::string("unexpected: ") + error.what()});
  }
}

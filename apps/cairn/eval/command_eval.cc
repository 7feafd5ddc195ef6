// SPDX-License-Identifier: Apache-2.0
// cairn eval: the instruments that judge what a cache keeps of a model's answers. cairn eval report: the results of
// several runs in one HTML page.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/cairn/commands.h"
#include "apps/cairn/eval/eval_commands.h"
#include "apps/cairn/input.h"
#include "cairn/base/file.h"
#include "cairn/eval/report.h"

namespace cairn::cli {
namespace {

struct ReportOptions {
  std::vector<std::string> results;
  std::string output;
};

Status run_report(const ReportOptions& options) {
  eval::Report report;
  for (const std::string& path : options.results) {
    std::error_code none;
    if (std::filesystem::equivalent(path, options.output, none)) {
      return fail(ErrorCode::kInvalidArgument, "'" + path + "' is a result; write the report to another file");
    }
    if (const auto size = std::filesystem::file_size(path, none); !none && size > eval::kMaxResultBytes) {
      return fail(ErrorCode::kUnsupported, "'" + path + "' is larger than 256 MiB, which no result of cairn eval is");
    }
    CAIRN_TRY(const std::string text, read_text(path));
    CAIRN_TRY_VOID(report.add(path, text));
  }
  return write_file(options.output, report.page());
}

}  // namespace

void add_eval_report_command(CLI::App& eval, Status& outcome) {
  CLI::App* command = eval.add_subcommand("report", "Show the results of several runs in one HTML page");
  auto options = std::make_shared<ReportOptions>();
  command->add_option("results", options->results, "Files that cairn eval kld or suite wrote with --json")
      ->required()
      ->type_name("RESULT.json");
  command->add_option("-o,--output", options->output, "The page to write")->required()->type_name("FILE");
  command->callback([options, &outcome] { outcome = run_report(*options); });
}

void add_eval_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("eval", "Judge what a KV cache recipe keeps of a model's answers");
  command->footer(
      "A recipe is CODEC[+PART=AMOUNT]..., as raw_f16 or raw_f16+drop=0.2. Parts, all simulated:\n"
      "  value-bits=B  values rounded to 2^B levels     shift=P  keys P positions too early\n"
      "  zero-heads=N  first N KV heads zeroed          drop=F   random share F of every finished block hidden\n"
      "  evict=F       random share F of a finished context hidden\n"
      "A token policy, which is real: +policy=NAME[/PART=VALUE]..., as raw_f16+policy=quest/keep=0.125");
  command->require_subcommand(1);
  add_eval_ppl_command(*command, outcome);
  add_eval_kld_command(*command, outcome);
  add_eval_suite_command(*command, outcome);
  add_eval_board_command(*command, outcome);
  add_eval_items_command(*command, outcome);
  add_eval_report_command(*command, outcome);
}

}  // namespace cairn::cli

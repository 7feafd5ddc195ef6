// SPDX-License-Identifier: Apache-2.0
// cairn eval report: the results of several runs in one HTML page.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/cairn/eval/eval_commands.h"
#include "apps/cairn/eval/report_data.h"
#include "apps/cairn/eval/report_page.h"
#include "cairn/base/file.h"

namespace cairn {
namespace {

struct ReportOptions {
  std::vector<std::string> results;
  std::string output;
};

Status run_report(const ReportOptions& options) {
  ReportData data;
  for (const std::string& path : options.results) {
    std::error_code none;
    if (std::filesystem::equivalent(path, options.output, none)) {
      return fail(ErrorCode::kInvalidArgument, "'" + path + "' is a result; write the report to another file");
    }
    CAIRN_TRY_VOID(read_report_file(path, data));
  }
  return write_file(options.output, report_page(data));
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

}  // namespace cairn

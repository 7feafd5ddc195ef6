// SPDX-License-Identifier: Apache-2.0
// cairn eval ppl: strided perplexity of a text under recipes.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "apps/cairn/eval/eval_commands.h"
#include "apps/cairn/eval/eval_json.h"
#include "apps/cairn/eval/text_options.h"
#include "apps/cairn/input.h"
#include "apps/cairn/terminal.h"
#include "cairn/eval/text_run.h"

namespace cairn::cli {
namespace {

Status run_ppl(const TextOptions& options) {
  const InterruptScope interrupt;
  CAIRN_TRY(const TextBench bench, open_text_bench(options));
  Json report = result_head("cairn.eval.ppl.v1", *bench.engine, options.model.model);
  report["text"] = {{"file", options.text}, {"tokens", bench.tokens.size()}};
  report["rows"] = Json::array();
  std::vector<std::vector<std::string>> table = {
      {"recipe", "context", "windows", "tokens", "bytes/token", "bits/value", "perplexity"}};
  Status outcome;
  for (const std::uint32_t context : bench.contexts) {
    CAIRN_TRY(const Windows windows, windows_of(bench, options, context));
    CAIRN_TRY(const auto judged, judged_engines(bench, options, context));
    Progress progress("Context " + std::to_string(context));
    const Result<TextRun> run =
        run_text({}, judged, windows, {.on_progress = progress.counter(), .cancel = &interrupt_flag()});
    progress.finish();
    outcome = outcome_of(run);
    for (std::size_t r = 0; run && r < judged.size(); ++r) {
      const JudgedText& text = run->recipes[r];
      const TextSummary summary = summarise(text.windows, {}, options.seed);
      report["rows"].push_back({{"recipe", bench.recipes[r].text},
                                {"context", context},
                                {"windows", summary.windows},
                                {"tokens", summary.tokens},
                                {"bytes_per_token", text.cost.bytes_per_token},
                                {"bits_per_value", text.cost.bits_per_value},
                                {"perplexity", estimate_json(summary.perplexity)}});
      table.push_back({bench.recipes[r].text, std::to_string(context), std::to_string(summary.windows),
                       std::to_string(summary.tokens), format_number(text.cost.bytes_per_token, 0),
                       format_number(text.cost.bits_per_value, 2), format_estimate(summary.perplexity, 3)});
    }
    if (!outcome) break;
  }
  if (!outcome && report["rows"].empty()) return outcome;
  report["complete"] = outcome.has_value();
  std::cout << (options.json ? dump_json(report) : format_table(table));
  return outcome;
}

}  // namespace

void add_eval_ppl_command(CLI::App& eval, Status& outcome) {
  CLI::App* command = eval.add_subcommand("ppl", "Perplexity of a text, strided windows");
  auto options = std::make_shared<TextOptions>();
  add_text_options(*command, *options);
  command->callback([options, &outcome] { outcome = run_ppl(*options); });
}

}  // namespace cairn::cli

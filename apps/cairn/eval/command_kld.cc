// SPDX-License-Identifier: Apache-2.0
// cairn eval kld: how far recipes move next-token distributions away from those of the exact cache.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <optional>
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

struct KldOptions {
  TextOptions text;
  std::string reference;       // read from here instead of running the exact cache
  std::string save_reference;  // written there
};

Json row_json(const std::string& recipe, std::uint32_t context, const CacheCost& cost, const TextSummary& summary) {
  return {{"recipe", recipe},
          {"context", context},
          {"windows", summary.windows},
          {"tokens", summary.tokens},
          {"bytes_per_token", cost.bytes_per_token},
          {"bits_per_value", cost.bits_per_value},
          {"kl",
           {{"mean", estimate_json(summary.kl_mean)},
            {"median", estimate_json(summary.kl_median)},
            {"p95", estimate_json(summary.kl_p95)},
            {"p99", estimate_json(summary.kl_p99)},
            {"max", estimate_json(summary.kl_max)}}},
          {"same_top1", estimate_json(summary.same_top1)},
          {"perplexity", estimate_json(summary.perplexity)},
          {"reference_perplexity", estimate_json(summary.exact_perplexity)},
          {"perplexity_ratio", estimate_json(summary.perplexity_ratio)}};
}

std::vector<std::string> table_row(const Json& row) {
  const auto number = [](const Json& estimate, int digits) {
    return format_number(estimate.at("value").get<double>(), digits);
  };
  const auto interval = [](const Json& estimate, int digits) {
    return format_estimate({estimate.at("value"), estimate.at("low"), estimate.at("high")}, digits);
  };
  const Json& kl = row.at("kl");
  return {row.at("recipe").get<std::string>(),
          std::to_string(row.at("context").get<int>()),
          format_number(row.at("bytes_per_token"), 0),
          format_number(row.at("bits_per_value"), 2),
          interval(kl.at("mean"), 5),
          number(kl.at("median"), 5),
          number(kl.at("p95"), 4),
          number(kl.at("p99"), 4),
          number(kl.at("max"), 3),
          format_number(row.at("same_top1").at("value").get<double>() * 100, 2) + " %",
          interval(row.at("perplexity_ratio"), 4)};
}

// The exact distributions of one window layout: an engine or a file, and a file to save to.
struct Exact {
  std::unique_ptr<JudgedEngine> engine;
  std::unique_ptr<ReferenceReader> reader;
  std::unique_ptr<ReferenceWriter> writer;
};

Result<Exact> open_exact(const TextBench& bench, const KldOptions& options, const Windows& windows) {
  Exact exact;
  CAIRN_TRY(exact.engine, exact_engine(bench, options.text, windows.context()));
  const Digest subject = windows_digest(exact.engine->engine(), windows);
  const std::uint64_t rows = std::uint64_t{windows.size()} * windows.predictions();
  const std::uint32_t vocab = bench.engine->config().vocab;
  if (!options.reference.empty()) {
    exact.engine.reset();
    CAIRN_TRY(exact.reader, ReferenceReader::open(options.reference, subject, vocab, rows));
  } else if (!options.save_reference.empty()) {
    CAIRN_TRY(exact.writer, ReferenceWriter::create(options.save_reference, subject, vocab, rows));
  }
  return exact;
}

Status run_kld(const KldOptions& options) {
  const bool with_file = !options.reference.empty() || !options.save_reference.empty();
  if (with_file && options.text.contexts.size() != 1) {
    return fail(ErrorCode::kInvalidArgument, "a reference file holds one context length; give one in --contexts");
  }
  const InterruptScope interrupt;
  CAIRN_TRY(const TextBench bench, open_text_bench(options.text));
  Json report = result_head("cairn.eval.kld.v1", *bench.engine, options.text.model.model);
  report["text"] = {{"file", options.text.text}, {"tokens", bench.tokens.size()}};
  report["settings"] = {
      {"exact", options.text.model.codec},   {"contexts", options.text.contexts},
      {"stride", options.text.stride},       {"skip", options.text.skip ? Json(*options.text.skip) : Json("half")},
      {"windows", options.text.max_windows}, {"seed", options.text.seed}};
  report["rows"] = Json::array();
  Status outcome;
  for (const std::uint32_t context : bench.contexts) {
    CAIRN_TRY(const Windows windows, windows_of(bench, options.text, context));
    CAIRN_TRY(const auto judged, judged_engines(bench, options.text, context));
    CAIRN_TRY(const Exact exact, open_exact(bench, options, windows));
    Progress progress("Context " + std::to_string(context));
    const Result<TextRun> run = run_text({exact.engine.get(), exact.reader.get(), exact.writer.get()}, judged, windows,
                                         {.on_progress = progress.counter(), .cancel = &interrupt_flag()});
    progress.finish();
    outcome = outcome_of(run);
    if (outcome && exact.writer != nullptr) outcome = exact.writer->finish();
    for (std::size_t r = 0; run && r < judged.size(); ++r) {
      const JudgedText& text = run->recipes[r];
      report["rows"].push_back(
          row_json(bench.recipes[r].text, context, text.cost, summarise(text.windows, run->exact, options.text.seed)));
    }
    if (!outcome) break;
  }
  if (!outcome && report["rows"].empty()) return outcome;
  report["complete"] = outcome.has_value();
  if (options.text.json) {
    std::cout << dump_json(report);
    return outcome;
  }
  std::vector<std::vector<std::string>> table = {{"recipe", "context", "bytes/token", "bits/value", "mean KL [95 %]",
                                                  "median", "p95", "p99", "max", "same top-1", "perplexity ratio"}};
  for (const Json& row : report["rows"]) table.push_back(table_row(row));
  std::cout << format_table(table);
  return outcome;
}

}  // namespace

void add_eval_kld_command(CLI::App& eval, Status& outcome) {
  CLI::App* command = eval.add_subcommand("kld", "KL divergence of next-token distributions from the exact cache");
  auto options = std::make_shared<KldOptions>();
  add_text_options(*command, options->text);
  command->add_option("--save-reference", options->save_reference, "Keep the exact logits in this file");
  command->add_option("--reference", options->reference, "Use the exact logits of an earlier run")
      ->excludes("--save-reference");
  command->callback([options, &outcome] { outcome = run_kld(*options); });
}

}  // namespace cairn::cli

// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/report_data.h"

#include <algorithm>
#include <filesystem>

#include "apps/cairn/eval/eval_json.h"
#include "apps/cairn/eval/html_text.h"
#include "apps/cairn/eval/json_fields.h"
#include "apps/cairn/text.h"

namespace cairn {
namespace {

constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t{256} << 20;
// Far beyond what a page can show, near enough that hostile files cost seconds at most.
constexpr std::size_t kMaxRows = 10000, kMaxRecipes = 1000, kMaxCells = 100000;
constexpr std::string_view kKldFormat = "cairn.eval.kld.v1";
constexpr std::string_view kSuiteFormat = "cairn.eval.suite.v1";

void read_run(const JsonFields& json, ReportRun& run) {
  run.version = json.text("version");
  run.commit = json.text("commit");
  const JsonFields model = json.object("model");
  run.model = {model.text("file"),    model.text("name"),      model.text("weights_digest"),
               model.count("layers"), model.count("kv_heads"), model.count("head_dim")};
  run.settings = json.scalars("settings");
}

KldRow read_kld_row(const JsonFields& json) {
  KldRow row;
  row.recipe = json.text("recipe");
  row.context = json.count("context");
  row.windows = json.count("windows");
  row.tokens = json.count("tokens");
  row.bytes_per_token = json.number("bytes_per_token", kPositive);
  row.bits_per_value = json.number("bits_per_value", kPositive);
  const JsonFields kl = json.object("kl");
  row.kl_mean = kl.interval("mean", kDivergence);
  row.kl_median = kl.interval("median", kDivergence);
  row.kl_p95 = kl.interval("p95", kDivergence);
  row.kl_p99 = kl.interval("p99", kDivergence);
  row.kl_max = kl.interval("max", kDivergence);
  row.same_top1 = json.interval("same_top1", kShare);
  row.perplexity = json.interval("perplexity", kPositive);
  row.reference_perplexity = json.interval("reference_perplexity", kPositive);
  row.perplexity_ratio = json.interval("perplexity_ratio", kPositive);
  return row;
}

SuiteCell read_cell(const JsonFields& json) {
  SuiteCell cell;
  cell.task = json.text("task");
  cell.column = json.text("column");
  cell.mode = json.text("mode");
  if (cell.mode != kMultiTurnMode && cell.mode != kMultiRequestMode) json.complain("mode", "is " + quote(cell.mode));
  cell.context = json.count("context");
  cell.turn = json.count_or_null("turn", 1, 1000);
  cell.depth = json.count_or_null("depth", 0, 4);
  if (cell.turn.has_value() == cell.depth.has_value()) json.complain("turn", "and depth: one of them must be null");
  cell.items = json.count("items");
  cell.score = json.number_or_null("score", kShare);
  cell.accuracy = json.interval_or_null("accuracy", kShare);
  if (const std::optional<JsonFields> retained = json.object_or_null("retained")) {
    cell.retained.items = retained->count("items", 0, cell.items);
    cell.retained.kept = retained->count("kept", 0, cell.retained.items);
    cell.retained.interval = retained->interval_or_null("interval", kShare);
  }
  if (cell.items > 0 && !cell.accuracy) json.complain("accuracy", "is null although there are items");
  cell.lost = json.count("lost", 0, cell.items);
  cell.won = json.count("won", 0, cell.items);
  cell.cap_hits = json.count("cap_hits", 0, cell.items);
  cell.answer_tokens = json.number_or_null("answer_tokens", kPositive).value_or(0);
  return cell;
}

SuiteRecipe read_suite_recipe(const JsonFields& json) {
  SuiteRecipe recipe;
  recipe.recipe = json.text("recipe");
  recipe.control = json.text("control");
  recipe.bytes_per_token = json.number("bytes_per_token", kPositive);
  recipe.bits_per_value = json.number("bits_per_value", kPositive);
  recipe.kept = json.number("kept", kShare);
  for (const JsonFields& cell : json.objects("cells", kMaxCells)) recipe.cells.push_back(read_cell(cell));
  return recipe;
}

KldRun read_kld(const JsonFields& json) {
  KldRun run;
  read_run(json, run);
  const JsonFields text = json.object("text");
  run.text_file = text.text("file");
  run.text_tokens = text.count("tokens");
  for (const JsonFields& row : json.objects("rows", kMaxRows)) run.rows.push_back(read_kld_row(row));
  return run;
}

SuiteRun read_suite(const JsonFields& json) {
  SuiteRun run;
  read_run(json, run);
  for (const JsonFields& recipe : json.objects("recipes", kMaxRecipes))
    run.recipes.push_back(read_suite_recipe(recipe));
  return run;
}

bool has_results(const KldRun& run) {
  return !run.rows.empty();
}

bool has_results(const SuiteRun& run) {
  return std::ranges::any_of(run.recipes, [](const SuiteRecipe& recipe) { return !recipe.cells.empty(); });
}

template <class Run>
Status keep(const std::string& path, Run run, const std::string& problem, std::vector<Run>& runs) {
  if (!problem.empty()) return fail(ErrorCode::kCorrupt, "'" + path + "': " + problem);
  if (!has_results(run)) return fail(ErrorCode::kNotFound, "'" + path + "' holds no results");
  run.source = path;
  runs.push_back(std::move(run));
  return {};
}

}  // namespace

std::string ReportRun::setting(std::string_view name) const {
  for (const auto& [key, value] : settings) {
    if (key == name) return value;
  }
  return {};
}

Status read_report_file(const std::string& path, ReportData& data) {
  std::error_code unknown;  // of a pipe; reading tells
  if (const auto size = std::filesystem::file_size(path, unknown); !unknown && size > kMaxFileBytes) {
    return fail(ErrorCode::kUnsupported, "'" + path + "' is larger than 256 MiB, which no result of cairn eval is");
  }
  CAIRN_TRY(const std::string text, read_text(path));
  const std::optional<ReportJson> json = parse_json(text);
  if (!json) {
    return fail(ErrorCode::kCorrupt,
                "'" + path + "' is no JSON; pass the output of cairn eval kld or suite with --json");
  }
  std::string problem;
  const JsonFields fields(*json, "", problem);
  const std::string format = fields.text("format");
  if (!problem.empty()) return fail(ErrorCode::kCorrupt, "'" + path + "': " + problem);
  if (format == kKldFormat) {
    KldRun run = read_kld(fields);
    return keep(path, std::move(run), problem, data.kld);
  }
  if (format == kSuiteFormat) {
    SuiteRun run = read_suite(fields);
    return keep(path, std::move(run), problem, data.suites);
  }
  return fail(ErrorCode::kUnsupported, "'" + path + "' has the format " + quote(format) + "; this build reads " +
                                           std::string(kKldFormat) + " and " + std::string(kSuiteFormat));
}

}  // namespace cairn

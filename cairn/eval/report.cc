// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/report.h"

#include <utility>

#include "cairn/base/data_page.h"
#include "cairn/eval/result_json.h"

namespace cairn::eval {
namespace {

// Far beyond what a page can show, near enough that hostile files cost seconds at most.
constexpr std::size_t kMaxRows = 10000, kMaxRecipes = 1000, kMaxCells = 100000;
constexpr std::string_view kKldFormat = "cairn.eval.kld.v1";
constexpr std::string_view kSuiteFormat = "cairn.eval.suite.v1";

void check_run(const JsonFields& json) {
  json.text("version");
  json.text("commit");
  const JsonFields model = json.object("model");
  for (const char* name : {"file", "name", "weights_digest"}) model.text(name);
  for (const char* name : {"layers", "kv_heads", "head_dim"}) model.count(name);
  json.plain_object("settings");
}

void check_kld_row(const JsonFields& json) {
  json.text("recipe");
  for (const char* name : {"context", "windows", "tokens"}) json.count(name);
  for (const char* name : {"bytes_per_token", "bits_per_value"}) json.number(name, kPositive);
  const JsonFields kl = json.object("kl");
  for (const char* name : {"mean", "median", "p95", "p99", "max"}) kl.interval(name, kDivergence);
  json.interval("same_top1", kShare);
  for (const char* name : {"perplexity", "reference_perplexity", "perplexity_ratio"}) json.interval(name, kPositive);
}

// A checked cell as the page reads it; intervals of shares follow from the counts.
Json packed_cell(const JsonFields& json) {
  json.text("task");
  json.text("column");
  const std::string mode = json.text("mode");
  if (mode != "multi-turn" && mode != "multi-request") json.complain("mode", "is " + quote(mode));
  json.count("context");
  const std::optional<std::uint64_t> turn = json.count_or_null("turn", 1, 1000);
  const std::optional<std::uint64_t> depth = json.count_or_null("depth", 0, 4);
  if (turn.has_value() == depth.has_value()) json.complain("turn", "and depth: one of them must be null");
  const std::uint64_t items = json.count("items");
  json.number_or_null("score", kShare);
  const std::optional<Estimate> accuracy = json.interval_or_null("accuracy", kShare);
  if (items > 0 && !accuracy) json.complain("accuracy", "is null although there are items");
  std::uint64_t retained_items = 0, kept = 0;
  if (const std::optional<JsonFields> retained = json.object_or_null("retained")) {
    retained_items = retained->count("items", 0, items);
    kept = retained->count("kept", 0, retained_items);
    retained->interval_or_null("interval", kShare);
  }
  for (const char* name : {"lost", "won", "cap_hits"}) json.count(name, 0, items);
  json.number_or_null("answer_tokens", kPositive);
  if (json.failed()) return {};
  const Json& cell = json.json();
  return {cell["task"],
          cell["column"],
          mode,
          cell["context"],
          cell["turn"],
          cell["depth"],
          items,
          accuracy ? Json(accuracy->value) : Json(),
          retained_items,
          kept,
          cell["lost"],
          cell["won"],
          cell["cap_hits"],
          cell["score"],
          cell["answer_tokens"]};
}

// A row per cell instead of an object: there are thousands of them.
Json packed_cells(const JsonFields& json) {
  Json rows = Json::array();
  for (const JsonFields& cell : json.objects("cells", kMaxCells)) rows.push_back(packed_cell(cell));
  return {{"fields",
           {"task", "column", "mode", "context", "turn", "depth", "items", "accuracy", "retained_items", "kept", "lost",
            "won", "cap_hits", "score", "answer_tokens"}},
          {"rows", std::move(rows)}};
}

Json packed_recipe(const JsonFields& json) {
  for (const char* name : {"recipe", "control"}) json.text(name);
  for (const char* name : {"bytes_per_token", "bits_per_value"}) json.number(name, kPositive);
  json.number("kept", kShare);
  Json cells = packed_cells(json);
  if (json.failed()) return {};
  Json recipe = json.json();
  recipe["cells"] = std::move(cells);
  return recipe;
}

// Whether the file holds results.
bool check_kld(const JsonFields& fields) {
  check_run(fields);
  const JsonFields text = fields.object("text");
  text.text("file");
  text.count("tokens");
  const auto rows = fields.objects("rows", kMaxRows);
  for (const JsonFields& row : rows) check_kld_row(row);
  return !rows.empty();
}

// `packed` becomes the recipes as the page reads them.
bool check_suite(const JsonFields& fields, Json& packed) {
  check_run(fields);
  bool any = false;
  Json recipes = Json::array();
  for (const JsonFields& json : fields.objects("recipes", kMaxRecipes)) {
    recipes.push_back(packed_recipe(json));
    any |= !fields.failed() && !recipes.back()["cells"]["rows"].empty();
  }
  packed = std::move(recipes);
  return any;
}

}  // namespace

Status Report::add(std::string_view source, std::string_view text) {
  const std::string name = "'" + std::string(source) + "'";
  std::optional<Json> json = parse_json(text);
  if (!json) {
    return fail(ErrorCode::kCorrupt, name + " is no JSON; pass the output of cairn eval kld or suite with --json");
  }
  std::string problem;
  const JsonFields fields(*json, "", problem);
  const std::string format = fields.text("format");
  if (problem.empty() && format != kKldFormat && format != kSuiteFormat) {
    return fail(ErrorCode::kUnsupported, name + " has the format " + quote(format) + "; this build reads " +
                                             std::string(kKldFormat) + " and " + std::string(kSuiteFormat));
  }
  Json recipes;
  const bool has_results = format == kKldFormat ? check_kld(fields) : check_suite(fields, recipes);
  if (!problem.empty()) return fail(ErrorCode::kCorrupt, name + ": " + problem);
  if (!has_results) return fail(ErrorCode::kNotFound, name + " holds no results");
  if (format == kSuiteFormat) (*json)["recipes"] = std::move(recipes);
  (*json)["source"] = source;
  if (!results_.empty()) results_ += ',';
  results_ += within_script(json->dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace));
  return {};
}

std::string Report::page() const {
  return page_with_data(report_template(), "[" + results_ + "]", "cairn.eval.report");
}

}  // namespace cairn::eval

// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/report_page.h"

#include <algorithm>
#include <vector>

#include "apps/cairn/eval/html_text.h"
#include "apps/cairn/eval/report_format.h"
#include "apps/cairn/eval/report_groups.h"
#include "apps/cairn/eval/report_lines.h"
#include "apps/cairn/eval/report_listing.h"
#include "apps/cairn/eval/report_scatter.h"
#include "apps/cairn/eval/report_style.h"
#include "apps/cairn/eval/report_tables.h"

namespace cairn {
namespace {

std::string interval_text(const Estimate& estimate, FigureText text) {
  return text(estimate.value) + " (" + text(estimate.low) + " to " + text(estimate.high) + ")";
}

std::string figure(const std::string& svg, const std::string& caption) {
  return "<figure><figcaption>" + caption + "</figcaption><div class=\"scroll\">" + svg + "</div></figure>\n";
}

std::string model_name(const ReportModel& model) {
  return model.name.empty() ? model.file : model.name;
}

std::string judged(const ModelGroup& group) {
  const ReportModel& model = group.model;
  std::string text = "<dl><dt>Model</dt><dd><code>" + html(model.file) + "</code></dd>";
  text += "<dt>Weights digest</dt><dd><code>" + html(model.weights_digest) + "</code></dd>";
  text += "<dt>KV cache</dt><dd>" + count_text(model.layers) + " layers × " + count_text(model.kv_heads) +
          " KV heads × " + count_text(model.head_dim) +
          " values, keys and values: " + count_text(2 * model.layers * model.kv_heads * model.head_dim) +
          " values per token</dd></dl>\n";
  return text + runs_table(group);
}

std::string compared(const ModelGroup& group) {
  std::string text = "<p>";
  if (!group.compared_text.empty()) {
    text += "Divergence from the exact cache: " + html(group.compared_text) + ". ";
    if (group.kld_left_out) text += "Rows of other texts, windows or contexts are only in the last tables. ";
  }
  if (!group.compared_sessions.empty()) {
    text +=
        "Accuracy: " + std::string(group.headline_is_scbench ? "multi-request, turns 2 to 5" : "all modes, all turns") +
        ", all tasks and contexts (" + html(group.compared_sessions) +
        "). Retained: of the questions that the full cache (<code>" + html(group.full_recipe) +
        "</code>) answers right, the share still answered right. ";
    if (group.suite_left_out) text += "Suites with other settings are only in the last tables. ";
  }
  text += "Bytes are what the cache really holds; a simulated damage holds what its codec stores.</p>\n";
  if (group.unequal_items) {
    text +=
        "<p><strong>The recipes were not asked equally many questions; compare their accuracies with care."
        "</strong></p>\n";
  }
  return text;
}

std::string divergence_figure(const std::string& id, const ModelGroup& group) {
  ScatterSpec spec = {
      id,
      "Bytes per token against mean KL divergence",
      "A point per recipe with its 95 % interval and the Pareto front; the summary table holds the figures.",
      "Mean KL, nats (logarithmic)",
      ScatterScale::kDivergence,
      {}};
  for (const RecipeFigures& figures : group.recipes) {
    if (!figures.kld) continue;
    const KldRow& row = *figures.kld;
    spec.points.push_back({figures.label(),
                           figures.label() + ": " + figure_text(row.bytes_per_token) + " bytes per token, mean KL " +
                               interval_text(row.kl_mean, divergence_text) + " nats",
                           row.bytes_per_token, row.kl_mean, figures.is_control()});
  }
  if (spec.points.empty()) return {};
  return "<h3>Size and divergence</h3>\n" +
         figure(scatter_svg(spec),
                "Mean KL(exact || recipe) per predicted token with 95 % intervals. A divergence of exactly "
                "zero has no place on a logarithmic axis and lies in the band below it.");
}

std::string retained_figure(const std::string& id, const ModelGroup& group) {
  ScatterSpec spec = {
      id,
      "Bytes per token against retained accuracy",
      "A point per recipe with its 95 % interval and the Pareto front; the summary table holds the figures.",
      "Retained accuracy",
      ScatterScale::kShare,
      {}};
  for (const RecipeFigures& figures : group.recipes) {
    const std::optional<Estimate>& retained = figures.retained;
    if (!figures.suite || !retained || !figures.asked_the_same()) continue;
    // What a page takes for a question alone, per token of it, is no size of a cache.
    const bool has_context = figures.control != "no context";
    spec.points.push_back({figures.label(),
                           figures.label() + ": " + figure_text(figures.suite->bytes_per_token) +
                               " bytes per token, retains " + interval_text(*retained, percent_text) + " % of " +
                               count_text(figures.headline.retained_items),
                           has_context ? figures.suite->bytes_per_token : 0, *retained, figures.is_control()});
  }
  if (spec.points.empty()) return {};
  return "<h3>Size and retained accuracy</h3>\n" +
         figure(scatter_svg(spec),
                "Share of the full cache's right answers that are still right, with 95 % intervals over "
                "the questions. Recipes of one size stand side by side where they would overlap.");
}

std::string turns_figure(const std::string& id, const ModelGroup& group) {
  const std::string svg = lines_svg(id, group);
  if (svg.empty()) return {};
  return "<h3>Accuracy by turn and by depth</h3>\n" +
         figure(
             svg,
             "Accuracy in %, over all tasks and contexts, with 95 % intervals. The grey line repeats the full cache.");
}

std::string section(const ModelGroup& group, const std::string& id) {
  std::string text = "<section id=\"" + id + "\">\n<h2>" + html(model_name(group.model)) + "</h2>\n" + judged(group);
  text += "<h3>Summary</h3>\n" + compared(group) + summary_table(group);
  text += divergence_figure(id + "-divergence", group) + retained_figure(id + "-retained", group);
  text += turns_figure(id + "-turns", group);
  if (const std::string heat = heat_tables(group); !heat.empty()) text += "<h3>Retained accuracy by task</h3>\n" + heat;
  text += "<div class=\"all\">\n<h3>All figures</h3>\n" + kld_listing(group) + suite_listing(group) + "</div>\n";
  return text + "</section>\n";
}

std::string contents(const std::vector<ModelGroup>& groups) {
  std::string text;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    text += std::string(text.empty() ? "" : " · ") + "<a href=\"#model-" + std::to_string(i + 1) + "\">" +
            html(model_name(groups[i].model)) + "</a>";
  }
  return "<nav aria-label=\"Models\"><p>" + text + "</p></nav>\n";
}

}  // namespace

std::string report_page(const ReportData& data) {
  const std::vector<ModelGroup> groups = group_by_model(data);
  std::string page =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>KV-cache recipes: size and "
      "quality</title>\n<style>" +
      std::string(report_style()) + "</style>\n</head>\n<body>\n<main>\n<h1>KV-cache recipes: size and quality</h1>\n";
  page +=
      "<p>What each way to store a KV cache holds per token, and what the model still does with it. Made by "
      "<code>cairn eval report</code>.</p>\n";
  if (groups.size() > 1) page += contents(groups);
  for (std::size_t i = 0; i < groups.size(); ++i) page += section(groups[i], "model-" + std::to_string(i + 1));
  return page + "</main>\n</body>\n</html>\n";
}

}  // namespace cairn

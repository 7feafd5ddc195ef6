// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/report_tables.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>
#include <vector>

#include "apps/cairn/eval/html_text.h"
#include "apps/cairn/eval/report_format.h"

namespace cairn {
namespace {

std::string run_row(const ReportRun& run, const char* kind, const std::string& text) {
  std::string settings;
  for (const auto& [name, value] : run.settings) {
    if (name == "contenders") continue;  // the recipes, which the summary names
    settings += (settings.empty() ? "" : " · ") + html(name) + " " + html(value);
  }
  return "<tr><th scope=\"row\">" + code_name(run.source) + "</th><td>" + kind + "</td><td>" + html(run.version) +
         " (<code>" + html(run.commit) + "</code>)</td><td>" + text + "</td><td>" + settings + "</td></tr>\n";
}

std::string recipe_head(const RecipeFigures& figures) {
  std::string head = "<th scope=\"row\">" + code_name(figures.recipe);
  if (figures.is_control()) head += "<small>control: " + html(figures.control) + "</small>";
  return head + "</th>";
}

// The two instruments see contexts of different lengths, whose open tails weigh differently.
std::string size_cell(const RecipeFigures& figures, double KldRow::*of_kld, double SuiteRecipe::*of_suite,
                      FigureText text) {
  const std::string kld = figures.kld ? text(*figures.kld.*of_kld) : "";
  const std::string suite = figures.suite ? text(*figures.suite.*of_suite) : "";
  if (kld.empty() || suite.empty() || kld == suite) return cell(kld.empty() ? suite : kld);
  return "<td class=\"n\">" + kld + "<small>suite " + suite + "</small></td>";
}

std::string summary_row(const RecipeFigures& figures) {
  const KldRow* kld = figures.kld ? &*figures.kld : nullptr;
  const SuiteRecipe* suite = figures.suite ? &*figures.suite : nullptr;
  const auto from_kld = [&](Estimate KldRow::*member, FigureText text) {
    return kld == nullptr ? empty_cell() : interval_cell(kld->*member, text);
  };
  std::string row = figures.is_control() ? "<tr class=\"control\">" : "<tr>";
  row += recipe_head(figures);
  row += size_cell(figures, &KldRow::bytes_per_token, &SuiteRecipe::bytes_per_token, figure_text);
  row += size_cell(figures, &KldRow::bits_per_value, &SuiteRecipe::bits_per_value, bits_text);
  row += from_kld(&KldRow::kl_mean, divergence_text);
  row += from_kld(&KldRow::same_top1, percent_text);
  row += from_kld(&KldRow::perplexity_ratio, ratio_text);
  row += interval_cell(figures.headline.accuracy(), percent_text);
  row += interval_cell(figures.retained, percent_text);
  row += suite == nullptr ? empty_cell() : cell(count_text(figures.headline.items));
  return row + "</tr>\n";
}

// Of 0 to 9; more is darker: what is lost is what one looks for.
int heat_of(double retained) {
  return std::clamp(static_cast<int>(std::floor((1 - retained) * 10)), 0, 9);
}

std::string heat_cell(const Tally& tally) {
  const std::optional<Estimate> retained = tally.retained();
  if (!retained) return empty_cell();
  return "<td class=\"n h" + std::to_string(heat_of(retained->value)) + "\" title=\"" +
         count_text(tally.retained_kept) + " of " + count_text(tally.retained_items) + ", " +
         percent_text(retained->low) + " to " + percent_text(retained->high) + " %\">" +
         std::to_string(std::lround(retained->value * 100)) + "</td>";
}

std::string heat_table(const ModelGroup& group, std::string_view mode) {
  std::set<TaskColumn> tasks;
  for (const RecipeFigures& figures : group.recipes) {
    if (!figures.suite) continue;
    for (const SuiteCell& cell : figures.suite->cells) {
      if (cell.mode == mode && is_late_turn(cell)) tasks.insert({cell.task, cell.column});
    }
  }
  if (tasks.empty()) return {};
  std::string table =
      "<div class=\"scroll\"><table class=\"heat\"><caption>" + std::string(mode) +
      ", turns 2 to 5: of the questions that the full cache answers right, the share still answered right, "
      "in %. The stronger the colour, the more is lost.</caption>\n<thead><tr><th scope=\"col\">Recipe</th>";
  for (const TaskColumn& task : tasks) {
    table += "<th scope=\"col\">" + html(task.task);
    if (!task.column.empty()) table += "<small>" + html(task.column) + "</small>";
    table += "</th>";
  }
  table += "<th scope=\"col\">all</th></tr></thead>\n<tbody>\n";
  for (const RecipeFigures& figures : group.recipes) {
    if (!figures.suite || !figures.asked_the_same()) continue;
    table += (figures.is_control() ? "<tr class=\"control\">" : "<tr>") + recipe_head(figures);
    const auto in_mode = [&](const SuiteCell& cell) { return cell.mode == mode && is_late_turn(cell); };
    for (const TaskColumn& task : tasks) {
      table += heat_cell(tally_if(figures.suite->cells, [&](const SuiteCell& cell) {
        return in_mode(cell) && cell.task == task.task && cell.column == task.column;
      }));
    }
    table += heat_cell(tally_if(figures.suite->cells, in_mode)) + "</tr>\n";
  }
  return table + "</tbody></table></div>\n";
}

}  // namespace

std::string runs_table(const ModelGroup& group) {
  std::string table =
      "<div class=\"scroll\"><table class=\"text\"><caption>The runs</caption>\n<thead><tr><th scope=\"col\">File</th>"
      "<th scope=\"col\">Kind</th><th scope=\"col\">cairn</th><th scope=\"col\">Text</th>"
      "<th scope=\"col\">Settings</th></tr></thead>\n<tbody>\n";
  for (const KldRun* run : group.kld) {
    table += run_row(*run, "divergence", code_name(run->text_file) + ", " + count_text(run->text_tokens) + " tokens");
  }
  for (const SuiteRun* run : group.suites) table += run_row(*run, "suite", "generated");
  return table + "</tbody></table></div>\n";
}

std::string summary_table(const ModelGroup& group) {
  std::string table =
      "<div class=\"scroll\"><table class=\"summary\"><caption>By recipe; 95 % intervals in small print</caption>\n"
      "<thead><tr><th scope=\"col\">Recipe</th><th scope=\"col\">Bytes<small>per token</small></th>"
      "<th scope=\"col\">Bits<small>per value</small></th><th scope=\"col\">Mean KL<small>nats</small></th>"
      "<th scope=\"col\">Same top-1<small>%</small></th><th scope=\"col\">Perplexity<small>ratio</small></th>"
      "<th scope=\"col\">Accuracy<small>%</small></th><th scope=\"col\">Retained<small>%</small></th>"
      "<th scope=\"col\">Items</th></tr></thead>\n<tbody>\n";
  for (const RecipeFigures& figures : group.recipes) table += summary_row(figures);
  return table + "</tbody></table></div>\n";
}

std::string heat_tables(const ModelGroup& group) {
  return heat_table(group, kMultiRequestMode) + heat_table(group, kMultiTurnMode);
}

}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/report_listing.h"

#include <map>
#include <optional>
#include <tuple>

#include "apps/cairn/eval/html_text.h"
#include "apps/cairn/eval/report_format.h"

namespace cairn {
namespace {

std::string heads(std::initializer_list<std::pair<const char*, const char*>> columns) {
  std::string row = "<thead><tr>";
  for (const auto& [name, unit] : columns) {
    row += "<th scope=\"col\">" + std::string(name);
    if (*unit != '\0') row += "<small>" + std::string(unit) + "</small>";
    row += "</th>";
  }
  return row + "</tr></thead>\n";
}

std::string kld_row(const KldRow& row) {
  const auto pair = [](const std::string& value, const std::string& small) {
    return "<td class=\"n\">" + value + "<small>" + small + "</small></td>";
  };
  std::string text = "<tr><th scope=\"row\">" + code_name(row.recipe) + "</th>";
  text += pair(count_text(row.context), count_text(row.windows) + " windows") + cell(count_text(row.tokens));
  text += pair(figure_text(row.bytes_per_token), bits_text(row.bits_per_value) + " bits");
  for (const Estimate& kl : {row.kl_mean, row.kl_median, row.kl_p95, row.kl_p99, row.kl_max}) {
    text += interval_cell(kl, divergence_text);
  }
  text += interval_cell(row.same_top1, percent_text) + interval_cell(row.perplexity, perplexity_text);
  text += interval_cell(row.reference_perplexity, perplexity_text) + interval_cell(row.perplexity_ratio, ratio_text);
  return text + "</tr>\n";
}

struct CellKey {
  TaskColumn task;
  std::string mode;
  std::uint64_t context;
  bool operator<(const CellKey& other) const {
    return std::tie(task, mode, context) < std::tie(other.task, other.mode, other.context);
  }
};

std::string suite_row(const CellKey& key, const Tally& tally) {
  const auto plain = [](const std::optional<double>& value, FigureText text) {
    return value ? cell(text(*value)) : empty_cell();
  };
  std::string text = "<tr><th scope=\"row\">" + html(key.task.label()) + "</th><td>" + html(key.mode) + "</td>";
  text += cell(count_text(key.context)) + cell(count_text(tally.items)) + plain(tally.score(), percent_text);
  text += interval_cell(tally.accuracy(), percent_text) + interval_cell(tally.retained(), percent_text);
  text += cell(count_text(tally.retained_kept) + " / " + count_text(tally.retained_items));
  text += cell(count_text(tally.lost)) + cell(count_text(tally.won)) + cell(count_text(tally.cap_hits));
  return text + plain(tally.answer_tokens(), figure_text) + "</tr>\n";
}

std::string suite_table(const SuiteRun& run, const SuiteRecipe& recipe) {
  std::map<CellKey, Tally> tallies;
  for (const SuiteCell& cell : recipe.cells) {
    if (cell.turn) tallies[{{cell.task, cell.column}, cell.mode, cell.context}].add(cell);
  }
  const std::string control = recipe.control.empty() ? "" : ", control: " + html(recipe.control);
  std::string text = "<details><summary><code>" + html(recipe.recipe) + "</code>" + control +
                     " <span class=\"quiet\">" + figure_text(recipe.bytes_per_token) + " bytes per token · " +
                     bits_text(recipe.bits_per_value) + " bits per value · " + percent_text(recipe.kept) +
                     " % of the tokens kept · " + html(run.source) + "</span></summary>\n";
  text += "<div class=\"scroll\"><table class=\"listing\"><caption><code>" + html(recipe.recipe) + "</code>" + control +
          ", all turns; lost and won: right with the full cache and wrong here, and the reverse</caption>\n";
  text += heads({{"Task", ""},
                 {"Mode", ""},
                 {"Context", "tokens"},
                 {"Items", ""},
                 {"Score", "%"},
                 {"Accuracy", "%"},
                 {"Retained", "%"},
                 {"Kept", "of right"},
                 {"Lost", ""},
                 {"Won", ""},
                 {"Cap hits", ""},
                 {"Answer", "tokens"}});
  text += "<tbody>\n";
  for (const auto& [key, tally] : tallies) text += suite_row(key, tally);
  return text + "</tbody></table></div></details>\n";
}

}  // namespace

std::string kld_listing(const ModelGroup& group) {
  std::string text;
  for (const KldRun* run : group.kld) {
    text += "<div class=\"scroll\"><table class=\"listing kld\"><caption>Divergence, <code>" + html(run->source) +
            "</code> on <code>" + html(run->text_file) + "</code>; KL in nats</caption>\n";
    text += heads({{"Recipe", ""},
                   {"Context", "tokens"},
                   {"Predicted", "tokens"},
                   {"Bytes", "per token"},
                   {"KL", "mean"},
                   {"KL", "median"},
                   {"KL", "95th pct."},
                   {"KL", "99th pct."},
                   {"KL", "maximum"},
                   {"Top-1", "same, %"},
                   {"Perplexity", ""},
                   {"Perplexity", "exact cache"},
                   {"Perplexity", "ratio"}});
    text += "<tbody>\n";
    for (const KldRow& row : run->rows) text += kld_row(row);
    text += "</tbody></table></div>\n";
  }
  return text;
}

std::string suite_listing(const ModelGroup& group) {
  std::string text;
  for (const SuiteRun* run : group.suites) {
    for (const SuiteRecipe& recipe : run->recipes) text += suite_table(*run, recipe);
  }
  return text;
}

}  // namespace cairn

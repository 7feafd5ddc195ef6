// SPDX-License-Identifier: Apache-2.0
// Runs sorted into models, and the figures of one recipe brought together from several files.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/cairn/eval/report_data.h"
#include "apps/cairn/eval/tally.h"

namespace cairn {

// One recipe of one model. Recipes are joined by their text and the digest of the weights; a control stands for itself.
struct RecipeFigures {
  std::string recipe, control;
  std::optional<KldRow> kld;         // of the compared windows
  std::optional<SuiteRecipe> suite;  // of the compared sessions; no two cells of the same place
  Tally headline;                    // of `suite`
  std::optional<Estimate> retained;  // of `headline`; for the full cache itself exact

  std::string label() const { return control.empty() ? recipe : recipe + " (" + control + ")"; }
  bool is_control() const { return !control.empty(); }
  // Other controls ask other questions, so their shares do not belong into one picture with those of recipes.
  bool asked_the_same() const { return !is_control() || control == "random eviction" || control == "no context"; }
  double bytes_per_token() const;  // of kld, otherwise of suite
};

// Only what was measured alike is compared: the same text, windows and context; the same sessions. Of several such
// sets, the one that most recipes share is compared (then the longest context, then the first), the others are listed.
struct ModelGroup {
  ReportModel model;
  std::vector<const KldRun*> kld;
  std::vector<const SuiteRun*> suites;
  std::string compared_text;      // "text.txt, 40 windows of 1024 tokens"; empty: no kld rows
  std::string compared_sessions;  // "seed 1, sessions 10"; empty: no suite
  std::string full_recipe;        // the first of the compared suite: what the others are paired with
  bool kld_left_out = false, suite_left_out = false;
  bool headline_is_scbench = false;    // otherwise there are no such turns, and `headline` holds all turns of all modes
  bool unequal_items = false;          // recipes were not asked equally many questions
  std::vector<RecipeFigures> recipes;  // the full cache, then most bytes first; controls last
};

// The groups refer to `data`, which must outlive them.
std::vector<ModelGroup> group_by_model(const ReportData& data);

}  // namespace cairn

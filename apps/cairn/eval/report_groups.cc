// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/report_groups.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <string_view>
#include <tuple>

#include "apps/cairn/eval/report_format.h"

namespace cairn {
namespace {

using Names = std::vector<std::string_view>;

std::string settings_text(const ReportRun& run, const Names& without) {
  std::string text;
  for (const auto& [name, value] : run.settings) {
    if (std::ranges::find(without, name) != without.end()) continue;
    text += (text.empty() ? "" : ", ") + name + " " + value;
  }
  return text;
}

std::string file_name(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

// The seed moves only the intervals; contexts and windows are told apart row by row.
std::string windows_text(const KldRun& run, const KldRow& row) {
  const std::string settings = settings_text(run, {"contexts", "seed", "windows"});
  return file_name(run.text_file) + ", " + count_text(row.windows) + " windows of " + count_text(row.context) +
         " tokens, " + count_text(row.tokens) + " of them predicted" + (settings.empty() ? "" : " (" + settings + ")");
}

std::string sessions_text(const SuiteRun& run) {
  return settings_text(run, {"contexts", "tasks", "modes", "contenders"});
}

// What is compared, with the recipes it holds.
struct Slice {
  std::string text;
  std::uint64_t text_tokens = 0, context = 0;
  std::set<std::pair<std::string, std::string>> recipes;

  bool same(const Slice& other) const {
    return text == other.text && text_tokens == other.text_tokens && context == other.context;
  }
};

class Slices {
 public:
  void add(const Slice& slice, const std::string& recipe, const std::string& control) {
    auto found = std::ranges::find_if(all_, [&](const Slice& other) { return other.same(slice); });
    if (found == all_.end()) found = all_.insert(all_.end(), slice);
    found->recipes.emplace(recipe, control);
  }
  const Slice* widest() const {
    const auto best = std::ranges::max_element(all_, [](const Slice& a, const Slice& b) {
      return std::tuple(a.recipes.size(), a.context) < std::tuple(b.recipes.size(), b.context);
    });
    return best == all_.end() ? nullptr : &*best;
  }
  bool several() const { return all_.size() > 1; }

 private:
  std::vector<Slice> all_;
};

RecipeFigures& figures_of(ModelGroup& group, const std::string& recipe, const std::string& control) {
  for (RecipeFigures& figures : group.recipes) {
    if (figures.recipe == recipe && figures.control == control) return figures;
  }
  group.recipes.push_back({recipe, control, {}, {}, {}, {}});
  return group.recipes.back();
}

Slice slice_of(const KldRun& run, const KldRow& row) {
  return {windows_text(run, row), run.text_tokens, row.context, {}};
}

void join_kld(ModelGroup& group) {
  Slices slices;
  for (const KldRun* run : group.kld) {
    for (const KldRow& row : run->rows) slices.add(slice_of(*run, row), row.recipe, "");
  }
  const Slice* widest = slices.widest();
  if (widest == nullptr) return;
  group.compared_text = widest->text;
  group.kld_left_out = slices.several();
  for (const KldRun* run : group.kld) {
    for (const KldRow& row : run->rows) {
      if (!slice_of(*run, row).same(*widest)) continue;
      RecipeFigures& figures = figures_of(group, row.recipe, "");
      if (!figures.kld) figures.kld = row;
    }
  }
}

auto place(const SuiteCell& cell) {
  return std::tie(cell.task, cell.column, cell.mode, cell.context, cell.turn, cell.depth);
}

// The same cell of the same sessions twice, as of a full cache that several runs measured, is one measurement.
void join_cells(std::optional<SuiteRecipe>& joined, const SuiteRecipe& more) {
  if (!joined) {
    joined = more;
    joined->cells.clear();
  }
  auto less = [](const SuiteCell* a, const SuiteCell* b) { return place(*a) < place(*b); };
  std::set<const SuiteCell*, decltype(less)> known(less);
  const std::vector<SuiteCell> before = joined->cells;
  for (const SuiteCell& cell : before) known.insert(&cell);
  for (const SuiteCell& cell : more.cells) {
    if (known.insert(&cell).second) joined->cells.push_back(cell);
  }
}

void join_suites(ModelGroup& group) {
  Slices slices;
  for (const SuiteRun* run : group.suites) {
    for (const SuiteRecipe& recipe : run->recipes)
      slices.add({sessions_text(*run), 0, 0, {}}, recipe.recipe, recipe.control);
  }
  const Slice* widest = slices.widest();
  if (widest == nullptr) return;
  group.compared_sessions = widest->text;
  group.suite_left_out = slices.several();
  for (const SuiteRun* run : group.suites) {
    if (sessions_text(*run) != widest->text) continue;
    if (group.full_recipe.empty()) group.full_recipe = run->recipes.front().recipe;
    for (const SuiteRecipe& recipe : run->recipes) {
      join_cells(figures_of(group, recipe.recipe, recipe.control).suite, recipe);
    }
  }
}

void add_headlines(ModelGroup& group) {
  for (const RecipeFigures& figures : group.recipes) {
    group.headline_is_scbench |= figures.suite && tally_if(figures.suite->cells, is_headline).items > 0;
  }
  std::optional<std::uint64_t> items;
  for (RecipeFigures& figures : group.recipes) {
    if (!figures.suite) continue;
    figures.headline = tally_if(figures.suite->cells, [&](const SuiteCell& cell) {
      return group.headline_is_scbench ? is_headline(cell) : cell.turn.has_value();
    });
    figures.retained = figures.headline.retained();
    if (figures.retained && figures.recipe == group.full_recipe && !figures.is_control()) {
      figures.retained->low = figures.retained->high = figures.retained->value;
    }
    if (figures.is_control()) continue;  // some are asked other or fewer questions by design
    group.unequal_items |= items && *items != figures.headline.items;
    items = figures.headline.items;
  }
}

void sort_recipes(ModelGroup& group) {
  const auto key = [&](const RecipeFigures& figures) {
    return std::tuple(figures.is_control(), figures.recipe != group.full_recipe, -figures.bytes_per_token(),
                      figures.kld ? figures.kld->kl_mean.value : 0.0);
  };
  std::ranges::stable_sort(group.recipes, [&](const auto& a, const auto& b) { return key(a) < key(b); });
}

ModelGroup& group_of(std::vector<ModelGroup>& groups, const ReportModel& model) {
  for (ModelGroup& group : groups) {
    if (group.model.weights_digest == model.weights_digest) return group;
  }
  groups.emplace_back().model = model;
  return groups.back();
}

}  // namespace

double RecipeFigures::bytes_per_token() const {
  if (kld) return kld->bytes_per_token;
  return suite ? suite->bytes_per_token : 0;
}

std::vector<ModelGroup> group_by_model(const ReportData& data) {
  std::vector<ModelGroup> groups;
  for (const KldRun& run : data.kld) group_of(groups, run.model).kld.push_back(&run);
  for (const SuiteRun& run : data.suites) group_of(groups, run.model).suites.push_back(&run);
  for (ModelGroup& group : groups) {
    join_kld(group);
    join_suites(group);
    add_headlines(group);
    sort_recipes(group);
  }
  return groups;
}

}  // namespace cairn

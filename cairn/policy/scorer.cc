// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/scorer.h"

#include <algorithm>
#include <string>
#include <vector>

namespace cairn {

std::span<const Scorer> scorer_table() {
  static const std::vector<Scorer> table = [] {
    std::vector<Scorer> rows;
    for (const std::span<const Scorer> file : {place_scorers(), key_scorers(), query_scorers(), mass_scorers()}) {
      rows.insert(rows.end(), file.begin(), file.end());
    }
    return rows;
  }();
  return table;
}

Result<const Scorer*> find_scorer(std::string_view name) {
  const std::span<const Scorer> table = scorer_table();
  const auto row = std::ranges::find(table, name, &Scorer::name);
  if (row != table.end()) return &*row;
  std::string known;
  for (const Scorer& scorer : table) known += (known.empty() ? "" : ", ") + std::string(scorer.name);
  return fail(ErrorCode::kInvalidArgument, "no scorer '" + std::string(name) + "'; there are: " + known);
}

}  // namespace cairn

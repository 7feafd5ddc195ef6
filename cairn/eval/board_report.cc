// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/board_report.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "cairn/base/data_page.h"

namespace cairn::eval {
namespace {

// A plot of the page: what something costs, or how fast it is, against the answers that stay right.
struct Axis {
  const char* name;
  std::optional<double> (*cost)(const BoardRow& row);  // less is better
};

constexpr Axis kAxes[] = {
    {"bytes_held", [](const BoardRow& row) { return std::optional(row.cost.bytes_held); }},
    {"bytes_read", [](const BoardRow& row) { return std::optional(row.bytes_read); }},
    {"tokens_per_second",
     [](const BoardRow& row) {
       const auto speed = row.tokens_per_second();
       return speed ? std::optional(-*speed) : std::nullopt;
     }},
};

std::vector<std::size_t> front_of(std::span<const BoardRow> rows, const Axis& axis) {
  std::vector<std::size_t> candidates;
  std::vector<FrontPoint> points;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const GroupCounts counts = rows[r].headline();
    const auto cost = axis.cost(rows[r]);
    if (!rows[r].is_candidate() || counts.exact_correct == 0 || !cost) continue;
    candidates.push_back(r);
    points.push_back({*cost, counts.retained_accuracy().value});
  }
  std::vector<std::size_t> front = pareto_front(points);
  for (std::size_t& place : front) place = candidates[place];
  return front;
}

Json score_json(Mode mode, std::optional<std::uint32_t> turn, const GroupCounts& counts) {
  Json score = {{"mode", mode_name(mode)},
                {"turn", turn ? Json(*turn + 1) : Json(nullptr)},
                {"items", counts.items},
                {"right", counts.correct},
                {"accuracy", estimate_json(counts.accuracy())},
                {"retained", nullptr},
                {"lost", counts.lost},
                {"won", counts.won},
                {"cap_hits", counts.cap_hits}};
  if (counts.exact_correct > 0) {
    score["retained"] = {{"items", counts.exact_correct},
                         {"kept", counts.retained},
                         {"interval", estimate_json(counts.retained_accuracy())}};
  }
  return score;
}

// By mode: all turns, then each of them.
Json scores_json(const BoardRow& row) {
  Json scores = Json::array();
  for (const Mode mode : kModes) {
    scores.push_back(score_json(mode, std::nullopt, row.total(mode)));
    for (std::uint32_t turn = 0; row.total_from(mode, turn).items > 0; ++turn) {
      scores.push_back(score_json(mode, turn, row.total_of(mode, turn)));
    }
  }
  return scores;
}

// Counts alone, as arrays: there are thousands of them.
Json cells_json(const BoardRow& row) {
  Json cells = Json::array();
  for (const auto& [key, counts] : row.groups) {
    if (!key.turn) continue;
    cells.push_back({key.task, key.column, key.context, mode_name(key.mode), *key.turn + 1, counts.items,
                     counts.correct, counts.exact_correct, counts.retained, counts.lost, counts.won});
  }
  return cells;
}

const Json& cell_fields() {
  static const Json fields = {"task",  "column",         "context", "mode", "turn", "items",
                              "right", "retained_items", "kept",    "lost", "won"};
  return fields;
}

Json row_json(const BoardRow& row) {
  const BoardEntry& entry = *row.entry;
  const auto speed = row.tokens_per_second();
  return {{"recipe", entry.recipe.text},
          {"codec", entry.codec},
          {"policy", entry.policy.empty() ? Json(nullptr) : Json(entry.policy)},
          {"family", family_name(entry.family)},
          {"budget", entry.budget},
          {"bytes_held", row.cost.bytes_held},
          {"bytes_per_token", row.cost.bytes_per_token},
          {"bits_per_value", row.cost.bits_per_value},
          {"kept", row.cost.kept},
          {"read_fraction", row.read_fraction},
          {"bytes_read", row.bytes_read},
          {"scores", scores_json(row)},
          {"cells", cells_json(row)},
          {"busy",
           {{"tokens_per_second", speed ? Json(*speed) : Json(nullptr)},
            {"decode_tokens", row.decode.tokens},
            {"decode_seconds", row.decode.seconds}}}};
}

Json fronts_json(std::span<const BoardRow> rows) {
  Json fronts = Json::object();
  for (const Axis& axis : kAxes) {
    Json names = Json::array();
    for (const std::size_t r : front_of(rows, axis)) names.push_back(rows[r].entry->recipe.text);
    fronts[axis.name] = std::move(names);
  }
  return fronts;
}

Json head_with_fronts(Json head, std::span<const BoardRow> rows) {
  head["cell_fields"] = cell_fields();
  const Json fronts = fronts_json(rows);
  head["fronts"] = {{"bytes_held", fronts["bytes_held"]}, {"bytes_read", fronts["bytes_read"]}};
  head["busy"] = {{"note",
                   "answer tokens of a session's questions, several to a pass, while other sessions and programs may "
                   "compute: for comparison within this run alone"},
                  {"front", fronts["tokens_per_second"]}};
  return head;
}

std::string decimal(double value, int digits) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", digits, value);
  return buffer;
}

std::string retained_text(const GroupCounts& counts) {
  if (counts.exact_correct == 0) return "-";
  const Estimate share = counts.retained_accuracy();
  return std::to_string(counts.retained) + "/" + std::to_string(counts.exact_correct) + ", " +
         decimal(share.value * 100, 1) + " % [" + decimal(share.low * 100, 0) + ", " + decimal(share.high * 100, 0) +
         "]";
}

std::string budget_text(double budget) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", budget);
  return buffer;
}

}  // namespace

std::string board_json(const Json& head, std::span<const BoardRow> rows) {
  std::string text = dump_json(head_with_fronts(head, rows));
  text.resize(text.rfind('\n', text.size() - 2));  // without "}" and its line
  text += ",\n  \"rows\": [";
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string line = json_line(row_json(rows[r]));
    line.pop_back();
    text += (r == 0 ? "\n    " : ",\n    ") + line;
  }
  return text + "\n  ]\n}\n";
}

std::string board_markdown(const Json& head, std::span<const BoardRow> rows) {
  std::vector<std::string> marks(rows.size());
  constexpr const char* kSigns[] = {"H", "R", "S"};
  for (std::size_t a = 0; a < std::size(kAxes); ++a) {
    for (const std::size_t r : front_of(rows, kAxes[a])) marks[r] += kSigns[a];
  }
  const Json& settings = head.at("settings");
  std::string text =
      "# Token policies and codecs: " + head.at("model").at("name").get<std::string>() + "\n\n" + "Seed " +
      settings.at("seed").dump() + ", " + settings.at("sessions").dump() + " sessions of each task and context, " +
      settings.at("turns").dump() + " turns, " + settings.at("form").get<std::string>() +
      " form. Retained: of the items that the exact cache answers, those still answered, with Wilson's "
      "95 % intervals. On the Pareto front of retained answers (multi-request, from turn 2 on where there are more) "
      "against bytes held: H; against bytes read by a decode step: R; against tokens per second: S. Tokens per second "
      "are of a busy machine: several answers to a pass, several sessions at once.\n\n";
  text +=
      "| recipe | budget | bytes/token | of exact | kept | read | bytes read/step | tokens/s | retained, multi-turn | "
      "multi-request | multi-request, from turn 2 | lost, won | front |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
      "--:|---|\n";
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const BoardRow& row = rows[r];
    const GroupCounts turns = row.total(Mode::kMultiTurn), requests = row.total(Mode::kMultiRequest);
    const auto speed = row.tokens_per_second();
    std::string name = "`" + row.entry->recipe.text + "`";
    if (!row.is_candidate()) name += ", " + std::string(family_name(row.entry->family));
    const double exact = rows.front().cost.bytes_held;
    for (const std::string& cell :
         {name, budget_text(row.entry->budget), decimal(row.cost.bytes_per_token, 0),
          exact > 0 ? decimal(row.cost.bytes_held / exact, 3) : "-", decimal(row.cost.kept, 3),
          decimal(row.read_fraction, 3), decimal(row.bytes_read, 0), speed ? decimal(*speed, 1) : "-",
          retained_text(turns), retained_text(requests), retained_text(row.total_from(Mode::kMultiRequest, 1)),
          std::to_string(turns.lost + requests.lost) + ", " + std::to_string(turns.won + requests.won), marks[r]}) {
      text += "| " + cell + " ";
    }
    text += "|\n";
  }
  if (const Json& left_out = settings.at("left_out"); !left_out.empty()) {
    text += "\nLeft out:\n\n";
    for (const Json& line : left_out) text += "- " + line.get<std::string>() + "\n";
  }
  return text;
}

std::string board_page(const Json& head, std::span<const BoardRow> rows) {
  Json all = head_with_fronts(head, rows);
  all["rows"] = Json::array();
  for (const BoardRow& row : rows) all["rows"].push_back(row_json(row));
  const std::string json = all.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  return page_with_data(board_template(), within_script(json), "cairn.board.page");
}

}  // namespace cairn::eval

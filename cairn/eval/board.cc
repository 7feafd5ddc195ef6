// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/board.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <numeric>
#include <set>
#include <utility>

#include "cairn/policy/policy.h"
#include "cairn/policy/reader.h"

namespace cairn::eval {
namespace {

constexpr std::string_view kControls[] = {"random", "random-read", "full"};

BoardFamily family_of(const PolicySpec& policy) {
  if (std::ranges::find(kControls, policy.name) != std::end(kControls)) return BoardFamily::kControl;
  const auto reads_all_keys = [](const Reader& reader) { return reader.by == ReadBy::kKeys && !reader.channels; };
  if (policy.reads_less()) {
    return reads_all_keys(*policy.reader) ? BoardFamily::kBound : BoardFamily::kReadSelection;
  }
  return policy.every > 0 ? BoardFamily::kRunningRetention : BoardFamily::kRetention;
}

std::string shortest_budget(double budget) {
  char text[40];
  std::snprintf(text, sizeof text, "%.10g", budget);
  return text;
}

Status check_budgets(std::span<const double> budgets) {
  for (const double budget : budgets) {
    if (budget > 0 && budget <= 1) continue;
    return fail(ErrorCode::kInvalidArgument, "budget " + shortest_budget(budget) +
                                                 ": a budget is the share of the tokens that stay or are read, above 0 "
                                                 "and at most 1; write --budgets 0.5,0.25");
  }
  return {};
}

// The policies to try, none twice, each without a budget.
Result<std::vector<PolicySpec>> policies_of(const BoardSettings& settings) {
  std::vector<std::string> texts = settings.policies;
  if (texts.empty()) {
    for (const NamedPolicy& row : policy_table()) {
      if (std::ranges::find(kControls, row.name) == std::end(kControls)) texts.emplace_back(row.name);
    }
  }
  if (settings.controls) texts.insert(texts.end(), std::begin(kControls), std::end(kControls));
  std::vector<PolicySpec> policies;
  for (std::string& text : texts) {
    std::ranges::replace(text, '/', '+');
    if (text == "none") text = "full";
    if (text.find("+keep=") != text.npos) {
      return fail(ErrorCode::kInvalidArgument,
                  "policy '" + text + "': its share is the budget; leave keep out and choose --budgets");
    }
    CAIRN_TRY(PolicySpec policy, parse_policy(text));
    if (std::ranges::find(policies, policy) == policies.end()) policies.push_back(std::move(policy));
  }
  return policies;
}

void add_entry(BoardPlan& plan, BoardEntry entry) {
  const auto same = [&](const BoardEntry& there) { return there.recipe.text == entry.recipe.text; };
  if (std::ranges::none_of(plan.entries, same)) plan.entries.push_back(std::move(entry));
}

Status add_policy(BoardPlan& plan, const BoardEntry& codec, const PolicySpec& policy, std::span<const double> budgets) {
  const bool keeps_all = policy.keep == 1;  // a row that keeps everything has no part for its share
  for (const double budget : keeps_all ? std::span(&policy.keep, 1) : budgets) {
    if (budget == 1 && !keeps_all) continue;
    std::string text = policy.text + (keeps_all ? "" : "+keep=" + shortest_budget(budget));
    std::ranges::replace(text, '+', '/');
    CAIRN_TRY(EvalRecipe recipe, parse_recipe(codec.codec + "+policy=" + text));
    add_entry(plan, {std::move(recipe), codec.codec, policy.text, family_of(policy), budget});
  }
  return {};
}

GroupCounts total_where(const std::map<GroupKey, GroupCounts>& groups,
                        const std::function<bool(const GroupKey&)>& counts_in) {
  GroupCounts sum;
  for (const auto& [key, counts] : groups) {
    if (counts_in(key)) sum += counts;
  }
  return sum;
}

BoardRow board_row(const BoardEntry& entry, std::span<const AnsweredCell> mine, std::span<const AnsweredCell> exact) {
  BoardRow row{.entry = &entry, .cost = mean_cost(mine), .read_fraction = 0, .groups = summarise_cells(mine, exact)};
  double box_bytes = 0, box_bytes_per_token = 0;
  for (const AnsweredCell& answered : mine) {
    const SessionOutcome& outcome = answered.outcome;
    row.read_fraction += outcome.read_fraction;
    row.bytes_read += outcome.read_fraction * outcome.cost.bytes_held + outcome.box_bytes;
    box_bytes += outcome.box_bytes;
    if (outcome.cost.bytes_held > 0) {
      box_bytes_per_token += outcome.box_bytes * outcome.cost.bytes_per_token / outcome.cost.bytes_held;
    }
    row.decode.seconds += outcome.decode.seconds;
    row.decode.tokens += outcome.decode.tokens;
  }
  const auto sessions = static_cast<double>(std::max<std::size_t>(mine.size(), 1));
  row.read_fraction /= sessions;
  row.bytes_read /= sessions;
  row.cost.bytes_held += box_bytes / sessions;
  row.cost.bytes_per_token += box_bytes_per_token / sessions;
  return row;
}

}  // namespace

std::string_view family_name(BoardFamily family) {
  switch (family) {
    case BoardFamily::kCodec: return "codec";
    case BoardFamily::kReadSelection: return "read selection";
    case BoardFamily::kRetention: return "retention";
    case BoardFamily::kRunningRetention: return "running retention";
    case BoardFamily::kControl: return "control";
    case BoardFamily::kBound: return "bound";
  }
  return "";
}

Result<BoardPlan> plan_board(const BoardSettings& settings, std::string_view exact) {
  CAIRN_TRY_VOID(check_budgets(settings.budgets));
  CAIRN_TRY(const std::vector<PolicySpec> policies, policies_of(settings));
  BoardPlan plan;
  CAIRN_TRY(EvalRecipe first, parse_recipe(exact));
  std::string codec_text = first.text;
  add_entry(plan, {std::move(first), std::move(codec_text), "", BoardFamily::kCodec, 1});
  for (const PolicySpec& policy : policies) {
    if (!policy.prompt_stays) continue;
    plan.left_out.push_back("policy " + policy.text +
                            " is left out: it keeps the prompt, and an answer ends before there is more to let go");
  }
  for (const std::string& text : settings.codecs) {
    CAIRN_TRY(EvalRecipe recipe, parse_recipe(text));
    std::string codec = recipe.text;
    const BoardEntry alone{std::move(recipe), std::move(codec), "", BoardFamily::kCodec, 1};
    add_entry(plan, alone);
    for (const PolicySpec& policy : policies) {
      if (!policy.prompt_stays) CAIRN_TRY_VOID(add_policy(plan, alone, policy, settings.budgets));
    }
  }
  return plan;
}

Status leave_out_unsupported(BoardPlan& plan, const Engine& engine, std::uint64_t kv_budget_bytes) {
  std::vector<BoardEntry> kept;
  std::set<std::pair<std::string, std::string>> refused;  // codec and policy: what one budget cannot, none can
  for (BoardEntry& entry : plan.entries) {
    const std::pair key(entry.codec, entry.policy);
    if (refused.contains(key)) continue;
    const auto judged = JudgedEngine::make(engine, entry.recipe, {.kv_budget_bytes = kv_budget_bytes});
    if (judged) {
      kept.push_back(std::move(entry));
      continue;
    }
    if (judged.error().code != ErrorCode::kUnsupported || kept.empty()) return std::unexpected(judged.error());
    refused.insert(key);
    plan.left_out.push_back(
        (entry.policy.empty() ? "codec " + entry.codec : "policy " + entry.policy + " on " + entry.codec) +
        " is left out: " + judged.error().message);
  }
  plan.entries = std::move(kept);
  return {};
}

std::vector<Contender> contenders_of(const BoardPlan& plan) {
  std::vector<Contender> contenders;
  for (const BoardEntry& entry : plan.entries) contenders.push_back({entry.recipe, Control::kNone, 0});
  return contenders;
}

std::optional<double> BoardRow::tokens_per_second() const {
  if (decode.tokens == 0 || decode.seconds <= 0) return std::nullopt;
  return static_cast<double>(decode.tokens) / decode.seconds;
}

GroupCounts BoardRow::total(Mode mode) const {
  return total_from(mode, 0);
}

GroupCounts BoardRow::total_from(Mode mode, std::uint32_t turn) const {
  return total_where(groups, [&](const GroupKey& key) { return key.mode == mode && key.turn && *key.turn >= turn; });
}

GroupCounts BoardRow::total_of(Mode mode, std::uint32_t turn) const {
  return total_where(groups, [&](const GroupKey& key) { return key.mode == mode && key.turn == turn; });
}

GroupCounts BoardRow::headline() const {
  const GroupCounts later = total_from(Mode::kMultiRequest, 1);
  return later.items > 0 ? later : total(Mode::kMultiRequest);
}

bool BoardRow::is_candidate() const {
  return entry->family != BoardFamily::kControl && entry->family != BoardFamily::kBound;
}

std::vector<BoardRow> board_rows(std::span<const BoardEntry> entries, std::span<const AnsweredCell> answers) {
  std::vector<BoardRow> rows;
  const auto exact = answers_of(answers, 0);
  for (std::size_t e = 0; e < entries.size(); ++e) {
    rows.push_back(board_row(entries[e], answers_of(answers, e), exact));
  }
  return rows;
}

std::vector<std::size_t> pareto_front(std::span<const FrontPoint> points) {
  std::vector<std::size_t> order(points.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
    return std::pair(points[a].cost, -points[a].gain) < std::pair(points[b].cost, -points[b].gain);
  });
  std::vector<std::size_t> front;
  for (const std::size_t i : order) {
    const FrontPoint* last = front.empty() ? nullptr : &points[front.back()];
    const bool equal = last != nullptr && last->cost == points[i].cost && last->gain == points[i].gain;
    if (last == nullptr || points[i].gain > last->gain || equal) front.push_back(i);
  }
  return front;
}

}  // namespace cairn::eval

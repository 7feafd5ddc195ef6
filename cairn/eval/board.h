// SPDX-License-Identifier: Apache-2.0
// The board of token policies: every policy at every budget on every codec, alone and together, as recipes of one run
// of the suite; and the rows that its answers make.
//
// Values, and functions without state that may be called from any thread. What is returned owns all it says, save the
// entries that rows point to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/eval/judged_engine.h"
#include "cairn/eval/suite.h"

namespace cairn::eval {

// What kind of thing a row tries. Controls and bounds say what other rows are worth, and stand on no Pareto front.
enum class BoardFamily : std::uint8_t {
  kCodec,             // a codec without a policy
  kReadSelection,     // every token stays, a query reads some
  kRetention,         // tokens go as the prompt ends
  kRunningRetention,  // and again later
  kControl,           // random choices, or a policy that changes nothing
  kBound,             // reads every key to choose: no policy can know more, and none may cost as much
};
std::string_view family_name(BoardFamily family);  // "codec", "read selection", ...

struct BoardSettings {
  std::vector<std::string> policies;  // as parse_policy() takes them, without `keep`; empty: all of the table
  std::vector<double> budgets;        // shares of the tokens
  std::vector<std::string> codecs;    // plans of recipes
  bool controls = true;
};

struct BoardEntry {
  EvalRecipe recipe;
  std::string codec;   // its recipe without the policy
  std::string policy;  // without its budget; empty: none
  BoardFamily family = BoardFamily::kCodec;
  double budget = 1;
};

struct BoardPlan {
  std::vector<BoardEntry> entries;    // no recipe twice; the first is the exact cache
  std::vector<std::string> left_out;  // a line for each policy that is not tried, on a codec or at all
};

// `exact`, then for each codec: alone, and with each policy at each budget below 1. A budget of 1 changes nothing, so
// the codec alone stands for all policies there. Errors: kInvalidArgument (a budget that is no share, a policy with
// `keep`), those of parse_policy and parse_recipe.
Result<BoardPlan> plan_board(const BoardSettings& settings, std::string_view exact);

// Takes out what this model or a codec cannot follow, with a line for each. Errors: those of JudgedEngine::make but
// kUnsupported; this too where the exact cache is concerned.
Status leave_out_unsupported(BoardPlan& plan, const Engine& engine, std::uint64_t kv_budget_bytes);

// All judged against the first.
std::vector<Contender> contenders_of(const BoardPlan& plan);

// Means over sessions, and counts.
struct BoardRow {
  const BoardEntry* entry = nullptr;
  CacheCost cost;            // of a context after it was finished, with what chooses among its pages
  double read_fraction = 1;  // of the boxes that decoded queries could read
  double bytes_read = 0;     // by one decode step: pages, as far as they are read, and boxes of keys
  DecodeTime decode{};       // a sum
  std::map<GroupKey, GroupCounts> groups;

  // Nothing where nothing was timed.
  std::optional<double> tokens_per_second() const;
  // Of one mode: all turns, those from a turn (counted from 0) on, or that turn alone.
  GroupCounts total(Mode mode) const;
  GroupCounts total_from(Mode mode, std::uint32_t turn) const;
  GroupCounts total_of(Mode mode, std::uint32_t turn) const;
  // What a board looks at first: multi-request from the second turn on, or its only turn where there is no other.
  GroupCounts headline() const;
  bool is_candidate() const;  // for Pareto fronts
};

// A row for each entry, which must be the contenders of the run in their order.
std::vector<BoardRow> board_rows(std::span<const BoardEntry> entries, std::span<const AnsweredCell> answers);

struct FrontPoint {
  double cost = 0, gain = 0;
};

// Places of the points that no other beats: costs no more and gains no less, and is better in one of them. By ascending
// cost; of equal points all stay.
std::vector<std::size_t> pareto_front(std::span<const FrontPoint> points);

}  // namespace cairn::eval

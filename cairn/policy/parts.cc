// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/parts.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

namespace cairn {
namespace parts {
namespace {

constexpr double kMaxTokens = 1048576;

constexpr std::pair<BudgetRule, std::string_view> kBudgets[] = {
    {BudgetRule::kUniform, "uniform"}, {BudgetRule::kPyramid, "pyramid"}, {BudgetRule::kPrefix, "prefix"},
    {BudgetRule::kAda, "ada"},         {BudgetRule::kEntropy, "entropy"}, {BudgetRule::kGlobal, "global"},
    {BudgetRule::kSlope, "slope"}};

constexpr std::pair<RestRule, std::string_view> kRests[] = {
    {RestRule::kNone, "none"}, {RestRule::kMean, "mean"}, {RestRule::kBoxes, "boxes"}};

std::optional<double> number_of(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string text_of(double number) {  // the shortest that reads back as the same
  char text[40];
  return {text, std::to_chars(text, text + sizeof text, number).ptr};
}

// Above 0, at most 1.
template <double PolicySpec::*kField>
bool set_share(PolicySpec& spec, std::string_view value) {
  const auto share = number_of(value);
  if (!share || !(*share > 0 && *share <= 1)) return false;
  spec.*kField = *share;
  return true;
}

// From 0 to 1.
template <double PolicySpec::*kField>
bool set_fraction(PolicySpec& spec, std::string_view value) {
  const auto share = number_of(value);
  if (!share || !(*share >= 0 && *share <= 1)) return false;
  spec.*kField = *share + 0.0;  // no minus zero
  return true;
}

template <double PolicySpec::*kField>
std::string get_share(const PolicySpec& spec) {
  return text_of(spec.*kField);
}

template <std::uint32_t PolicySpec::*kField>
std::string get_count(const PolicySpec& spec) {
  return std::to_string(spec.*kField);
}

// A whole number from min to max, `step` apart from min on.
template <std::uint32_t PolicySpec::*kField>
bool set_count(PolicySpec& spec, std::string_view value, double min, double max, std::uint32_t step = 1) {
  const auto number = number_of(value);
  if (!number || !(*number >= min && *number <= max)) return false;
  const auto count = static_cast<std::uint32_t>(*number);
  if (static_cast<double>(count) != *number || (count - static_cast<std::uint32_t>(min)) % step != 0) return false;
  spec.*kField = count;
  return true;
}

// One of two words for a flag.
template <bool PolicySpec::*kField>
bool set_flag(PolicySpec& spec, std::string_view value, std::string_view no, std::string_view yes) {
  if (value != no && value != yes) return false;
  spec.*kField = value == yes;
  return true;
}

// One of the rules of a table.
template <auto kField, class Rules>
bool set_rule(PolicySpec& spec, std::string_view value, const Rules& rules) {
  for (const auto& [rule, name] : rules) {
    if (name == value) {
      spec.*kField = rule;
      return true;
    }
  }
  return false;
}

bool set_budget(PolicySpec& spec, std::string_view value) {
  return set_rule<&PolicySpec::budget>(spec, value, kBudgets);
}

bool set_rest(PolicySpec& spec, std::string_view value) {
  return set_rule<&PolicySpec::rest>(spec, value, kRests);
}

std::string get_rest(const PolicySpec& spec) {
  return std::string(std::ranges::find(kRests, spec.rest, &std::pair<RestRule, std::string_view>::first)->second);
}

// The two tasks that WindowKV's classifier tells apart. What they stand for can be given by itself too.
bool set_task(PolicySpec& spec, std::string_view value) {
  if (value != "find" && value != "gather") return false;
  spec.unit_by_best = value == "find";
  if (spec.window != 0) spec.window = value == "find" ? 32 : 16;
  return true;
}

bool set_demote(PolicySpec& spec, std::string_view value) {
  const auto is_of_name = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  if (value.empty() || !std::ranges::all_of(value, is_of_name)) return false;
  spec.demote = value == "none" ? "" : value;
  return true;
}

// In the order of the canonical text, and of setting: the scorer decides what parts there are, a task sets others.
constexpr Part kParts[] = {
    {"scorer", "", nullptr, nullptr},
    {"task", "find or gather", set_task, nullptr},
    {"keep", "a number above 0 and at most 1", set_share<&PolicySpec::keep>, get_share<&PolicySpec::keep>},
    {"mass", "a number above 0 and at most 1", set_share<&PolicySpec::mass>, get_share<&PolicySpec::mass>},
    {"layers", "own or pairs",
     [](PolicySpec& spec, std::string_view value) {
       return set_flag<&PolicySpec::layer_pairs>(spec, value, "own", "pairs");
     },
     [](const PolicySpec& spec) { return std::string(spec.layer_pairs ? "pairs" : "own"); }},
    {"unread", "stay or offload",
     [](PolicySpec& spec, std::string_view value) {
       return set_flag<&PolicySpec::offloads>(spec, value, "stay", "offload");
     },
     [](const PolicySpec& spec) { return std::string(spec.offloads ? "offload" : "stay"); }},
    {"rest", "none, mean or boxes", set_rest, get_rest},
    {"budget", "uniform, pyramid, prefix, ada, entropy, global or slope", set_budget,
     [](const PolicySpec& spec) { return std::string(budget_name(spec.budget)); }},
    {"profile", "the name of a file of 'cairn tune budgets', which ends in .toml", nullptr,
     [](const PolicySpec& spec) { return spec.profile_file; }},
    {"group", "a whole number from 1 to 64",
     [](PolicySpec& spec, std::string_view value) { return set_count<&PolicySpec::group>(spec, value, 1, 64); },
     get_count<&PolicySpec::group>},
    {"heads", "own or shared",
     [](PolicySpec& spec, std::string_view value) {
       return set_flag<&PolicySpec::per_head>(spec, value, "shared", "own");
     },
     [](const PolicySpec& spec) { return std::string(spec.per_head ? "own" : "shared"); }},
    {"sinks", "a whole number from 0 to 1048576",
     [](PolicySpec& spec, std::string_view value) { return set_count<&PolicySpec::sinks>(spec, value, 0, kMaxTokens); },
     get_count<&PolicySpec::sinks>},
    {"recent", "a whole number from 0 to 1048576",
     [](PolicySpec& spec, std::string_view value) {
       return set_count<&PolicySpec::recent>(spec, value, 0, kMaxTokens);
     },
     get_count<&PolicySpec::recent>},
    {"recent-share", "a number from 0 to 1",
     [](PolicySpec& spec, std::string_view value) { return set_fraction<&PolicySpec::recent_share>(spec, value); },
     get_share<&PolicySpec::recent_share>},
    {"window", "a whole number from 1 to 1024",
     [](PolicySpec& spec, std::string_view value) { return set_count<&PolicySpec::window>(spec, value, 1, 1024); },
     get_count<&PolicySpec::window>},
    {"pool", "an odd number from 1 to 31",
     [](PolicySpec& spec, std::string_view value) { return set_count<&PolicySpec::pool>(spec, value, 1, 31, 2); },
     get_count<&PolicySpec::pool>},
    {"unit", "1, 8, 16, 32 or 64",
     [](PolicySpec& spec, std::string_view value) {
       constexpr std::array<std::string_view, 5> kUnits = {"1", "8", "16", "32", "64"};
       return std::ranges::count(kUnits, value) == 1 && set_count<&PolicySpec::unit>(spec, value, 1, 64);
     },
     get_count<&PolicySpec::unit>},
    {"unit-by", "mean or best",
     [](PolicySpec& spec, std::string_view value) {
       return set_flag<&PolicySpec::unit_by_best>(spec, value, "mean", "best");
     },
     [](const PolicySpec& spec) { return std::string(spec.unit_by_best ? "best" : "mean"); }},
    {"punctuation", "a number from 0 to 1",
     [](PolicySpec& spec, std::string_view value) { return set_fraction<&PolicySpec::punctuation>(spec, value); },
     get_share<&PolicySpec::punctuation>},
    {"chunk", "a multiple of 64 from 0 to 1048576",
     [](PolicySpec& spec, std::string_view value) {
       return set_count<&PolicySpec::chunk>(spec, value, 0, kMaxTokens, 64);
     },
     get_count<&PolicySpec::chunk>},
    {"every", "a multiple of 64 from 0 to 1048576",
     [](PolicySpec& spec, std::string_view value) {
       return set_count<&PolicySpec::every>(spec, value, 0, kMaxTokens, 64);
     },
     get_count<&PolicySpec::every>},
    {"then", "score or age",
     [](PolicySpec& spec, std::string_view value) {
       return set_flag<&PolicySpec::then_by_age>(spec, value, "score", "age");
     },
     [](const PolicySpec& spec) { return std::string(spec.then_by_age ? "age" : "score"); }},
    {"region", "all or decode",
     [](PolicySpec& spec, std::string_view value) {
       return set_flag<&PolicySpec::prompt_stays>(spec, value, "all", "decode");
     },
     [](const PolicySpec& spec) { return std::string(spec.prompt_stays ? "decode" : "all"); }},
    {"demote", "none or the name of a codec", set_demote,
     [](const PolicySpec& spec) { return spec.demote.empty() ? std::string("none") : spec.demote; }},
};

}  // namespace

std::span<const Part> all() {
  return kParts;
}

const Part* find(std::string_view name) {
  const auto part = std::ranges::find(kParts, name, &Part::name);
  return part == std::end(kParts) ? nullptr : part;
}

}  // namespace parts

std::string_view budget_name(BudgetRule rule) {
  for (const auto& [known, name] : parts::kBudgets) {
    if (known == rule) return name;
  }
  return "unknown";
}

}  // namespace cairn

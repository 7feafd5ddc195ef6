// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/policy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "cairn/policy/reader.h"
#include "cairn/policy/scorer.h"

namespace cairn {
namespace {

constexpr std::uint32_t kDefaultWindow = 64;  // where a row that has none gets a scorer that wants one
constexpr double kMaxTokens = 1048576;

constexpr std::pair<BudgetRule, std::string_view> kBudgets[] = {
    {BudgetRule::kUniform, "uniform"}, {BudgetRule::kPyramid, "pyramid"}, {BudgetRule::kPrefix, "prefix"},
    {BudgetRule::kAda, "ada"},         {BudgetRule::kEntropy, "entropy"}, {BudgetRule::kGlobal, "global"}};

struct Part {
  std::string_view name;
  std::string_view values;                                // for error messages
  bool (*set)(PolicySpec& spec, std::string_view value);  // false: no such value, and nothing has changed
  std::string (*get)(const PolicySpec& spec);
};

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

bool set_budget(PolicySpec& spec, std::string_view value) {
  for (const auto& [rule, name] : kBudgets) {
    if (name == value) {
      spec.budget = rule;
      return true;
    }
  }
  return false;
}

// In the order of the canonical text. The scorer is set before all others, since they depend on it.
constexpr Part kParts[] = {
    {"scorer", "", nullptr, nullptr},
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
    {"budget", "uniform, pyramid, prefix, ada, entropy or global", set_budget,
     [](const PolicySpec& spec) { return std::string(budget_name(spec.budget)); }},
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
     [](PolicySpec& spec, std::string_view value) {
       const auto share = number_of(value);
       if (!share || !(*share >= 0 && *share <= 1)) return false;
       spec.recent_share = *share + 0.0;  // no minus zero
       return true;
     },
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
    {"region", "all or decode",
     [](PolicySpec& spec, std::string_view value) {
       return set_flag<&PolicySpec::prompt_stays>(spec, value, "all", "decode");
     },
     [](const PolicySpec& spec) { return std::string(spec.prompt_stays ? "decode" : "all"); }},
};

bool wants_window(const PolicySpec& spec) {
  if (spec.reads_less()) return spec.reader->window;
  return spec.scorer != nullptr && spec.scorer->needs.probes == Probes::kLast;
}

bool has_part(const NamedPolicy& row, const PolicySpec& spec, const Part& part) {
  if (row.parts.keep == 1) return false;  // it keeps everything
  const bool of_reading = part.name == "mass" || part.name == "layers" || part.name == "unread";
  if (spec.reads_less()) {
    return part.name == "keep" || part.name == "unread" || (of_reading && spec.reader->scores()) ||
           (part.name == "window" && spec.reader->window);
  }
  return !of_reading && (part.name != "window" || wants_window(spec));
}

std::string quoted(std::string_view text) {
  return "'" + std::string(text) + "'";
}

template <class... Pieces>
std::unexpected<Error> refuse(const Pieces&... pieces) {
  std::string message;
  (message.append(pieces), ...);
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

const NamedPolicy* find_row(std::string_view name) {
  const auto row = std::ranges::find(policy_table(), name, &NamedPolicy::name);
  return row == policy_table().end() ? nullptr : &*row;
}

// A row's parts as they are without any that the text names, but for the scorer.
Result<PolicySpec> defaults_of(const NamedPolicy& row, std::string_view scorer) {
  PolicySpec spec = row.parts;
  spec.name = row.name;
  if (!row.reader.empty()) {
    CAIRN_TRY(spec.reader, find_reader(row.reader));
    return spec;
  }
  CAIRN_TRY(spec.scorer, find_scorer(scorer));
  if (!wants_window(spec)) spec.window = 0;
  if (wants_window(spec) && spec.window == 0) spec.window = kDefaultWindow;
  return spec;
}

struct Given {
  const Part* part = nullptr;
  std::string_view value;
};

// "part=value" of a policy, or what is wrong with it.
Result<Given> given_part(std::string_view policy, std::string_view piece) {
  const std::size_t equals = piece.find('=');
  const std::string_view name = piece.substr(0, equals);
  if (equals == piece.npos) {
    if (find_row(name) != nullptr) {
      return refuse("two token policies at once, ", quoted(policy), " and ", quoted(name), ": choose one");
    }
    return refuse("token policy ", quoted(policy), ": ", quoted(piece), " is no part; write +PART=VALUE");
  }
  const auto part = std::ranges::find(kParts, name, &Part::name);
  return Given{part == std::end(kParts) ? nullptr : part, piece.substr(equals + 1)};
}

std::string known_parts(const NamedPolicy& row, const PolicySpec& spec) {
  std::string known;
  for (const Part& part : kParts) {
    if (has_part(row, spec, part)) known += (known.empty() ? "" : ", ") + std::string(part.name);
  }
  return known.empty() ? "none" : known;
}

Status check_whole(const PolicySpec& spec) {
  if (spec.prompt_stays && spec.every == 0) {
    return refuse("token policy ", quoted(spec.name),
                  ": region=decode needs every=N with a multiple of 64 above 0, since nothing is decoded as the prompt "
                  "ends");
  }
  if (spec.chunk != 0 && (spec.prompt_stays || spec.scorer->needs.probes == Probes::kReplay)) {
    return refuse("token policy ", quoted(spec.name), ": chunk needs a policy that can judge the beginning of a prompt",
                  spec.prompt_stays ? ", and this one keeps prompts whole" : ", and this one reads all of it again");
  }
  if (spec.budget == BudgetRule::kAda && !spec.per_head) {
    return refuse("token policy ", quoted(spec.name),
                  ": budget=ada divides a layer's budget among its KV heads and needs heads=own");
  }
  return {};
}

std::string canonical(const NamedPolicy& row, const PolicySpec& spec, const PolicySpec& defaults) {
  std::string text(row.name);
  for (const Part& part : kParts) {
    if (part.get == nullptr) {
      if (spec.scorer != nullptr && spec.scorer->name != row.scorer)
        text += "+scorer=" + std::string(spec.scorer->name);
    } else if (const std::string value = part.get(spec); value != part.get(defaults)) {
      text += "+" + std::string(part.name) + "=" + value;
    }
  }
  return text;
}

}  // namespace

bool PolicySpec::sees_queries() const {
  return scorer != nullptr && (scorer->needs.probes != Probes::kNone || scorer->needs.queries);
}

std::string_view budget_name(BudgetRule rule) {
  for (const auto& [known, name] : kBudgets) {
    if (known == rule) return name;
  }
  return "unknown";
}

Result<PolicySpec> parse_policy(std::string_view text) {
  const std::string_view name = text.substr(0, text.find('+'));
  const NamedPolicy* row = find_row(name);
  if (row == nullptr) {
    std::string known;
    for (const NamedPolicy& policy : policy_table()) known += (known.empty() ? "" : ", ") + std::string(policy.name);
    return fail(ErrorCode::kUnsupported, "no token policy " + quoted(name) + "; there are: " + known);
  }

  CAIRN_TRY(PolicySpec spec, defaults_of(*row, row->scorer));
  std::vector<Given> parts;
  for (std::size_t begin = name.size(); begin < text.size();) {
    const std::size_t end = std::min(text.find('+', begin + 1), text.size());
    const std::string_view piece = text.substr(begin + 1, end - begin - 1);
    CAIRN_TRY(const Given given, given_part(name, piece));
    const bool possible = given.part != nullptr && (has_part(*row, spec, *given.part) ||
                                                    (given.part->name == "window" && has_part(*row, spec, kParts[0])));
    if (!possible) {
      return refuse("token policy ", quoted(name), " has no part ", quoted(piece.substr(0, piece.find('='))),
                    "; it has: ", known_parts(*row, spec));
    }
    if (std::ranges::count(parts, given.part, &Given::part) > 0) {
      return refuse("token policy ", quoted(name), ": ", quoted(given.part->name), " is given twice");
    }
    parts.push_back(given);
    begin = end;
  }

  const auto scorer = std::ranges::find(parts, &kParts[0], &Given::part);
  if (scorer != parts.end()) {
    CAIRN_TRY(spec, defaults_of(*row, scorer->value));
  }
  PolicySpec defaults = spec;
  for (const Given& given : parts) {
    if (given.part->set == nullptr) continue;
    if (!has_part(*row, spec, *given.part)) {  // the window of a scorer that has none
      return refuse("token policy ", quoted(name), " with the scorer ", quoted(spec.scorer->name), " has no part ",
                    quoted(given.part->name), "; it has: ", known_parts(*row, spec));
    }
    if (!given.part->set(spec, given.value)) {
      return refuse("token policy ", quoted(name), ": ", quoted(given.part->name), " is ", given.part->values, ", not ",
                    quoted(given.value));
    }
  }
  // Rows that keep the window of their probes do so at every length of it.
  if (defaults.window > 0 && defaults.recent == defaults.window) defaults.recent = spec.window;
  const bool recent_given = std::ranges::any_of(parts, [](const Given& given) { return given.part->name == "recent"; });
  if (!recent_given) spec.recent = defaults.recent;
  CAIRN_TRY_VOID(check_whole(spec));
  spec.text = canonical(*row, spec, defaults);
  return spec;
}

}  // namespace cairn

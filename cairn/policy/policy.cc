// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/policy.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "cairn/policy/budget_profile.h"
#include "cairn/policy/parts.h"
#include "cairn/policy/reader.h"
#include "cairn/policy/scorer.h"

namespace cairn {
namespace {

using parts::Part;

constexpr std::uint32_t kDefaultWindow = 64;  // where a row that has none gets a scorer that wants one

bool wants_window(const PolicySpec& spec) {
  if (spec.reads_less()) return spec.reader->window;
  return spec.scorer != nullptr && spec.scorer->needs.probes == Probes::kLast;
}

bool has_part(const NamedPolicy& row, const PolicySpec& spec, const Part& part) {
  if (row.parts.keep == 1) return false;  // it keeps everything
  const bool of_reading = part.name == "mass" || part.name == "layers" || part.name == "unread" || part.name == "rest";
  if (spec.reads_less()) {
    if (part.name == "rest") return spec.reader->weighs();
    return part.name == "keep" || part.name == "unread" || (of_reading && spec.reader->scores()) ||
           (part.name == "window" && spec.reader->window);
  }
  if (part.name == "task") return row.parts.unit_by_best;
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

std::string_view name_of(const Given& given) {
  return given.part->name;
}

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
  const Part* part = parts::find(name);
  return Given{part, piece.substr(equals + 1)};
}

std::string known_parts(const NamedPolicy& row, const PolicySpec& spec) {
  std::string known;
  for (const Part& part : parts::all()) {
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
  if (spec.rest != RestRule::kNone && spec.layer_pairs) {
    return refuse(
        "token policy ", quoted(spec.name),
        ": rest= needs what the queries of each layer think of its tokens, and under layers=pairs every second "
        "layer does not ask: choose one");
  }
  if (spec.profile == nullptr && spec.budget == BudgetRule::kAda && !spec.per_head) {
    return refuse("token policy ", quoted(spec.name),
                  ": budget=ada divides a layer's budget among its KV heads and needs heads=own");
  }
  return {};
}

Status set_profile(PolicySpec& spec, std::string_view file, PolicyFiles files) {
  if (files == PolicyFiles::kRefuse) {
    return refuse("token policy ", quoted(spec.name),
                  ": 'profile' names a file, which only those who start the program may do");
  }
  if (!file.ends_with(".toml")) {
    return refuse("token policy ", quoted(spec.name), ": 'profile' is ", parts::find("profile")->values, ", not ",
                  quoted(file));
  }
  CAIRN_TRY(BudgetProfile profile, read_budget_profile(std::string(file)));
  spec.profile = std::make_shared<const BudgetProfile>(std::move(profile));
  spec.profile_file = file;
  return {};
}

std::string canonical(const NamedPolicy& row, const PolicySpec& spec, const PolicySpec& defaults) {
  std::string text(row.name);
  for (const Part& part : parts::all()) {
    if (part.name == "scorer") {
      if (spec.scorer != nullptr && spec.scorer->name != row.scorer)
        text += "+scorer=" + std::string(spec.scorer->name);
    } else if (part.get != nullptr && part.get(spec) != part.get(defaults)) {
      text += "+" + std::string(part.name) + "=" + part.get(spec);
    }
  }
  return text;
}

}  // namespace

bool PolicySpec::sees_queries() const {
  return scorer != nullptr && (scorer->needs.probes != Probes::kNone || scorer->needs.queries);
}

bool PolicySpec::operator==(const PolicySpec& other) const {
  if (text != other.text || (profile == nullptr) != (other.profile == nullptr)) return false;
  return profile == nullptr || profile->same_budgets(*other.profile);
}

Result<PolicySpec> parse_policy(std::string_view text, PolicyFiles files) {
  const std::string_view name = text.substr(0, text.find('+'));
  const NamedPolicy* row = find_row(name);
  if (row == nullptr) {
    std::string known;
    for (const NamedPolicy& policy : policy_table()) known += (known.empty() ? "" : ", ") + std::string(policy.name);
    return fail(ErrorCode::kInvalidArgument, "no token policy " + quoted(name) + "; there are: " + known);
  }

  CAIRN_TRY(PolicySpec spec, defaults_of(*row, row->scorer));
  std::vector<Given> given_parts;
  for (std::size_t begin = name.size(); begin < text.size();) {
    const std::size_t end = std::min(text.find('+', begin + 1), text.size());
    const std::string_view piece = text.substr(begin + 1, end - begin - 1);
    CAIRN_TRY(const Given given, given_part(name, piece));
    const bool possible =
        given.part != nullptr && (has_part(*row, spec, *given.part) ||
                                  (given.part->name == "window" && has_part(*row, spec, parts::all().front())));
    if (!possible) {
      return refuse("token policy ", quoted(name), " has no part ", quoted(piece.substr(0, piece.find('='))),
                    "; it has: ", known_parts(*row, spec));
    }
    if (std::ranges::count(given_parts, given.part, &Given::part) > 0) {
      return refuse("token policy ", quoted(name), ": ", quoted(given.part->name), " is given twice");
    }
    given_parts.push_back(given);
    begin = end;
  }

  const auto scorer = std::ranges::find(given_parts, std::string_view("scorer"), name_of);
  if (scorer != given_parts.end()) {
    CAIRN_TRY(spec, defaults_of(*row, scorer->value));
  }
  PolicySpec defaults = spec;
  std::ranges::stable_sort(given_parts, {}, &Given::part);  // a task first: others may change what it sets
  for (const Given& given : given_parts) {
    if (given.part->name == "scorer") continue;
    if (!has_part(*row, spec, *given.part)) {  // the window of a scorer that has none
      return refuse("token policy ", quoted(name), " with the scorer ", quoted(spec.scorer->name), " has no part ",
                    quoted(given.part->name), "; it has: ", known_parts(*row, spec));
    }
    if (given.part->name == "profile") {
      if (std::ranges::find(given_parts, std::string_view("budget"), name_of) != given_parts.end()) {
        return refuse("token policy ", quoted(name), ": a profile gives the budgets, and so does budget=: choose one");
      }
      CAIRN_TRY_VOID(set_profile(spec, given.value, files));
    } else if (!given.part->set(spec, given.value)) {
      return refuse("token policy ", quoted(name), ": ", quoted(given.part->name), " is ", given.part->values, ", not ",
                    quoted(given.value));
    }
  }
  // Rows that keep the window of their probes do so at every length of it.
  if (defaults.window > 0 && defaults.recent == defaults.window) defaults.recent = spec.window;
  const bool recent_given = std::ranges::find(given_parts, std::string_view("recent"), name_of) != given_parts.end();
  if (!recent_given) spec.recent = defaults.recent;
  CAIRN_TRY_VOID(check_whole(spec));
  const auto is_given = [&](std::string_view part) {
    return std::ranges::find(given_parts, part, name_of) != given_parts.end();
  };
  if (is_given("then") && spec.then_by_age && !spec.ages()) {
    return refuse(
        "token policy ", quoted(name),
        ": then=age thins out what the prompt left as more is decoded, so it needs every=N with a multiple of "
        "64 above 0, and region=all");
  }
  if (is_given("unit-by") && spec.unit_by_best && spec.unit == 1) {
    return refuse("token policy ", quoted(name), ": unit-by=best needs a unit of 8 tokens or more");
  }
  spec.text = canonical(*row, spec, defaults);
  return spec;
}

}  // namespace cairn

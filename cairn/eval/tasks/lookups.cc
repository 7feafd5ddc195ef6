// SPDX-License-Identifier: Apache-2.0
// S1: what is the code of a key ("The code of river is 5931."). S2: which line begins and ends with these words. S4:
// which code does what a description in other words says, where little functions have a comment that says what they do.
// S12: S4 and S1, by turns.
#include <algorithm>
#include <cstddef>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/eval/tasks/layout.h"
#include "cairn/eval/tasks/material.h"
#include "cairn/eval/tasks/task_table.h"

namespace cairn::tasks {
namespace {

struct KeyValue {
  std::string key, value;
};

// Digits of a value, from short to long: long exact answers are the first to break.
constexpr std::size_t kValueWidths[] = {2, 4, 8, 16, 32};

// One pair with different keys for every width.
std::vector<KeyValue> make_key_values(std::span<const std::size_t> widths, SeededRandom& random) {
  std::vector<KeyValue> pairs;
  std::vector<std::string> keys = draw_keys(widths.size(), random);
  for (std::size_t i = 0; i < widths.size(); ++i) {
    pairs.push_back({std::move(keys[i]), draw_digits(widths[i], random)});
  }
  return pairs;
}

std::string key_value_line(const KeyValue& pair) {
  return "The code of " + pair.key + " is " + pair.value + ".\n";
}

Turn ask_value(const KeyValue& pair) {
  return make_question("What is the code of " + pair.key + "?", pair.value, {pair.value}, Metric::kExact);
}

Turn ask_value_in_chat(const KeyValue& pair) {
  return led_by("The code of " + pair.key + " is", ask_value(pair));
}

// `turns` of `choices`, as different as possible, in random order: what differs from turn to turn.
std::vector<std::size_t> spread_choices(std::span<const std::size_t> choices, std::size_t turns, SeededRandom& random) {
  std::vector<std::size_t> order(choices.begin(), choices.end()), spread;
  random.shuffle(order);
  for (std::size_t turn = 0; turn < turns; ++turn) spread.push_back(order[turn % order.size()]);
  return spread;
}

constexpr std::size_t kCommonWidths[] = {2, 2, 4, 4, 4, 4, 8, 8, 8, 16, 16, 32};
constexpr double kSameWidth = 0.7;  // share of the lines whose value is as long as most of its session

Draft draft_key_value(SeededRandom random, std::size_t lines, std::size_t turns) {
  const std::span<const std::size_t> common(kCommonWidths);
  const std::size_t usual = random.pick(common);
  std::vector<std::size_t> widths = spread_choices(kValueWidths, turns, random);
  while (widths.size() < lines) widths.push_back(random.unit() < kSameWidth ? usual : random.pick(common));
  const std::vector<KeyValue> pairs = make_key_values(widths, random);
  std::vector<TextUnit> units;
  for (const KeyValue& pair : pairs) units.push_back(unit_of(key_value_line(pair)));
  std::vector<Turn> questions;
  for (std::size_t turn = 0; turn < turns; ++turn) questions.push_back(ask_value(pairs[turn]));
  return draft_of(units, std::move(questions), random);
}

// The pairs that are asked for, and prose. Values that a small model can repeat.
Draft draft_codes_in_prose(SeededRandom random, std::size_t sentences, std::size_t turns) {
  constexpr std::size_t kWidths[] = {2, 4, 8};
  const std::vector<KeyValue> pairs = make_key_values(spread_choices(kWidths, turns, random), random);
  std::vector<TextUnit> units;
  std::vector<Turn> questions;
  for (const KeyValue& pair : pairs) {
    units.push_back(unit_of(key_value_line(pair)));
    questions.push_back(ask_value_in_chat(pair));
  }
  return draft_in_prose(std::move(units), sentences, std::move(questions), random);
}

struct Function {
  std::string comment;      // "sort small names"; empty where there are no more to tell apart
  std::string description;  // the same in other words: "order little labels"
  std::string code;         // "def kodo: river stone lamp"
};

constexpr std::size_t kBodyWords[] = {2, 3, 4, 6, 8};
constexpr std::size_t kDescriptions = 8 * 8 * 8;

struct Synonyms {
  std::string_view comment, question;
};

constexpr Synonyms kVerbs[] = {{"sort", "order"}, {"drop", "remove"}, {"count", "tally"}, {"merge", "join"},
                               {"print", "show"}, {"save", "store"},  {"copy", "clone"},  {"split", "divide"}};
constexpr Synonyms kAdjectives[] = {{"small", "little"}, {"large", "big"},     {"old", "ancient"}, {"new", "fresh"},
                                    {"empty", "blank"},  {"first", "initial"}, {"last", "final"},  {"fast", "quick"}};
constexpr Synonyms kNouns[] = {{"names", "labels"}, {"numbers", "figures"}, {"files", "papers"},    {"words", "terms"},
                               {"users", "people"}, {"lines", "rows"},      {"images", "pictures"}, {"dates", "days"}};

std::string three_words(std::string_view a, std::string_view b, std::string_view c) {
  return std::string(a) + " " + std::string(b) + " " + std::string(c);
}

// One function for every length of a body. The first kDescriptions have comments, all different.
std::vector<Function> make_functions(std::span<const std::size_t> body_words, SeededRandom& random) {
  std::vector<std::size_t> descriptions(kDescriptions);
  std::iota(descriptions.begin(), descriptions.end(), std::size_t{0});
  random.shuffle(descriptions);
  std::vector<Function> functions;
  for (std::size_t i = 0; i < body_words.size(); ++i) {
    Function function;
    if (i < kDescriptions) {
      const Synonyms& verb = kVerbs[descriptions[i] / 64];
      const Synonyms& adjective = kAdjectives[descriptions[i] / 8 % 8];
      const Synonyms& noun = kNouns[descriptions[i] % 8];
      function.comment = three_words(verb.comment, adjective.comment, noun.comment);
      function.description = three_words(verb.question, adjective.question, noun.question);
    }
    const std::string name(random.pick(common_words()));
    function.code = "def " + name + ": " + join_words(draw_words(body_words[i], random));
    functions.push_back(std::move(function));
  }
  return functions;
}

// Its comment, if any, and its code; each is a line.
std::string function_lines(const Function& function) {
  return (function.comment.empty() ? "" : "# " + function.comment + "\n") + function.code + "\n";
}

// Requires: functions[asked] has a comment.
Turn ask_function(std::span<const Function> functions, std::size_t asked) {
  const Function& function = functions[asked];
  CAIRN_CHECK(!function.comment.empty());
  Turn turn = make_question("Which code will " + function.description + "?", function.code, {function.code},
                            Metric::kNearestBody);
  for (const Function& each : functions) turn.candidates.push_back(each.code);
  return turn;
}

std::string name_of(const Function& function) {
  return function.code.substr(0, function.code.find(':'));
}

std::vector<Function> make_functions_with_names(std::span<const std::size_t> body_words, SeededRandom& random) {
  while (true) {
    std::vector<Function> functions = make_functions(body_words, random);
    std::set<std::string> names;
    for (const Function& function : functions) names.insert(name_of(function));
    if (names.size() == functions.size()) return functions;
  }
}

// The assistant's turn begins with the name and the first word: which function a description means is beyond a model of
// 135 M, how a body goes on is not.
Turn ask_body(const Function& function) {
  const std::size_t first_word_ends = function.code.find(' ', name_of(function).size() + 2);
  const std::string rest = function.code.substr(first_word_ends + 1);
  return led_by(function.code.substr(0, first_word_ends),
                make_question("Which code will " + function.description + "?", rest, {rest}, Metric::kExact));
}

Draft draft_code_in_prose(SeededRandom random, std::size_t sentences, std::size_t turns) {
  std::vector<TextUnit> units;
  std::vector<Turn> questions;
  for (const Function& function : make_functions_with_names(spread_choices(kBodyWords, turns, random), random)) {
    units.push_back(unit_of(function_lines(function)));
    questions.push_back(ask_body(function));
  }
  return draft_in_prose(std::move(units), sentences, std::move(questions), random);
}

constexpr std::size_t kMixedWidths[] = {2, 4, 8};  // digits in S12, where the functions take the room

std::vector<std::size_t> draw_lengths(std::span<const std::size_t> choices, std::size_t asked, std::size_t all,
                                      SeededRandom& random) {
  std::vector<std::size_t> lengths = spread_choices(choices, asked, random);
  while (lengths.size() < all) lengths.push_back(random.pick(choices));
  return lengths;
}

Draft draft_code(SeededRandom random, std::size_t count, std::size_t turns) {
  const std::vector<Function> functions = make_functions(draw_lengths(kBodyWords, turns, count, random), random);
  std::vector<TextUnit> units;
  for (const Function& function : functions) units.push_back(unit_of(function_lines(function)));
  std::vector<Turn> questions;
  for (std::size_t turn = 0; turn < turns; ++turn) questions.push_back(ask_function(functions, turn));
  return draft_of(units, std::move(questions), random);
}

// Two functions for three pairs, which is about as many tokens of each; the turns alternate.
Draft draft_code_key_value(SeededRandom random, std::size_t count, std::size_t turns) {
  const auto is_code = [&](std::size_t unit) { return unit < turns ? unit % 2 == 0 : unit % 5 < 2; };
  std::size_t codes = 0;
  for (std::size_t i = 0; i < count; ++i) codes += is_code(i);
  const std::size_t asked_codes = (turns + 1) / 2;
  const auto functions = make_functions(draw_lengths(kBodyWords, asked_codes, codes, random), random);
  const auto pairs = make_key_values(draw_lengths(kMixedWidths, turns / 2, count - codes, random), random);
  std::vector<TextUnit> units;
  std::vector<Turn> questions;
  for (std::size_t i = 0, function = 0, pair = 0; i < count; ++i) {
    if (is_code(i)) {
      if (i < turns) questions.push_back(ask_function(functions, function));
      units.push_back(unit_of(function_lines(functions[function++])));
    } else {
      if (i < turns) questions.push_back(ask_value(pairs[pair]));
      units.push_back(unit_of(key_value_line(pairs[pair++])));
    }
    if (i < turns) questions.back().column = is_code(i) ? "code" : "key-value";
  }
  return draft_of(units, std::move(questions), random);
}

// What is asked for, and prose.
Draft draft_code_key_value_in_prose(SeededRandom random, std::size_t sentences, std::size_t turns) {
  const auto functions = make_functions_with_names(spread_choices(kBodyWords, (turns + 1) / 2, random), random);
  const auto pairs = make_key_values(spread_choices(kMixedWidths, turns / 2, random), random);
  std::vector<TextUnit> units;
  std::vector<Turn> questions;
  for (std::size_t i = 0; i < turns; ++i) {
    const bool code = i % 2 == 0;
    units.push_back(unit_of(code ? function_lines(functions[i / 2]) : key_value_line(pairs[i / 2])));
    questions.push_back(code ? ask_body(functions[i / 2]) : ask_value_in_chat(pairs[i / 2]));
    questions.back().column = code ? "code" : "key-value";
  }
  return draft_in_prose(std::move(units), sentences, std::move(questions), random);
}

using Words = std::vector<std::string_view>;

constexpr std::size_t kEndWords = 2;  // of a prefix or a suffix
constexpr std::size_t kMinWords = 6, kMaxWords = 9;
constexpr std::size_t kTightTokens = 25;  // for each line that is needed; below that all lines are short ones

// Two words that no other prefix (or suffix) of the session consists of.
Words draw_end(std::vector<Words>& taken, SeededRandom& random) {
  while (true) {
    Words end = draw_words(kEndWords, random);
    if (std::ranges::count(taken, end)) continue;
    taken.push_back(end);
    return end;
  }
}

Words line_between(const Words& prefix, const Words& suffix, std::size_t longest, SeededRandom& random) {
  const std::size_t middle = kMinWords + random.below(longest - kMinWords + 1) - 2 * kEndWords;
  Words line = prefix;
  while (line.size() < kEndWords + middle) {
    const std::string_view word = random.pick(common_words());
    if (!std::ranges::count(line, word) && !std::ranges::count(suffix, word)) line.push_back(word);
  }
  line.insert(line.end(), suffix.begin(), suffix.end());
  return line;
}

std::string text_of(const Words& line) {
  return join_words(line) + ".";
}

Turn ask_line(const Words& line) {
  const std::span<const std::string_view> words(line);
  const std::string begin = join_words(words.first(kEndWords)), end = join_words(words.last(kEndWords));
  return make_question("Which line begins with " + begin + " and ends with " + end + "?", text_of(line),
                       {text_of(line)}, Metric::kExact);
}

// Twins stand in a ring: beside each target, lines begin like it and end like the next or the next but one. So every
// target has two distractors of each kind, and a distractor is worth two.
std::vector<Words> draw_twins(std::size_t targets, std::size_t longest, std::vector<Words>& prefixes,
                              std::vector<Words>& suffixes, SeededRandom& random) {
  for (std::size_t i = 0; i < targets; ++i) {
    draw_end(prefixes, random);
    draw_end(suffixes, random);
  }
  std::vector<Words> lines;
  for (std::size_t next = 0; next < 3; ++next) {  // 0: the targets themselves, which come first
    for (std::size_t i = 0; i < targets; ++i) {
      lines.push_back(line_between(prefixes[i], suffixes[(i + next) % targets], longest, random));
    }
  }
  return lines;
}

// Every other turn asks for a line that no other begins or ends like, the rest for lines with twins.
std::size_t twin_turns(std::size_t turns) {
  return (turns + 1) / 2;
}
// A ring in which next but one is another.
std::size_t fewest_targets(std::size_t turns) {
  return std::max<std::size_t>(3, twin_turns(turns));
}

Draft draft_prefix_suffix(SeededRandom random, std::size_t lines, std::size_t longest, std::size_t turns) {
  std::vector<Words> prefixes, suffixes, all;
  std::vector<Words> twins =
      draw_twins(std::max(fewest_targets(turns), lines / 4), longest, prefixes, suffixes, random);
  std::vector<Turn> questions;
  for (std::size_t turn = 0; turn < turns; ++turn) {
    const bool twin = turn % 2 == 0;
    if (twin) {
      all.push_back(twins[turn / 2]);
    } else {
      const Words prefix = draw_end(prefixes, random), suffix = draw_end(suffixes, random);
      all.push_back(line_between(prefix, suffix, longest, random));
    }
    questions.push_back(ask_line(all.back()));
    questions.back().column = twin ? "twins" : "single";
  }
  all.insert(all.end(), twins.begin() + static_cast<std::ptrdiff_t>(twin_turns(turns)), twins.end());
  while (all.size() < lines) {
    const Words prefix = draw_end(prefixes, random), suffix = draw_end(suffixes, random);
    all.push_back(line_between(prefix, suffix, longest, random));
  }
  std::vector<TextUnit> units;
  for (const Words& line : all) units.push_back(unit_of("- " + text_of(line) + "\n"));
  return draft_of(units, std::move(questions), random);
}

// The lines that are asked for, and prose. The question names the first word and the last, the assistant's turn begins
// with the first two: a small model goes on with what followed the same two words last, which may not be the question.
Draft draft_lines_in_prose(SeededRandom random, std::size_t sentences, std::size_t turns) {
  const std::vector<std::string_view> words = draw_words(turns * kMinWords, random);
  std::vector<TextUnit> units;
  std::vector<Turn> questions;
  for (std::size_t i = 0; i < turns; ++i) {
    const std::span<const std::string_view> line = std::span(words).subspan(i * kMinWords, kMinWords);
    const std::string begin = join_words(line.first(kEndWords)), rest = join_words(line.subspan(kEndWords));
    const std::string question =
        "Which line begins with " + std::string(line.front()) + " and ends with " + std::string(line.back()) + "?";
    units.push_back(unit_of("- " + begin + " " + rest + ".\n"));
    questions.push_back(led_by("- " + begin, make_question(question, rest, {rest}, Metric::kExact)));
    questions.back().column = "single";
  }
  return draft_in_prose(std::move(units), sentences, std::move(questions), random);
}

}  // namespace

Result<EvalSession> make_key_value(const SessionSpec& spec) {
  return fill_session(spec,
                      {.task = "S1", .smallest = spec.turns, .draft = [&](SeededRandom random, std::size_t lines) {
                         return spec.prose ? draft_codes_in_prose(random, lines, spec.turns)
                                           : draft_key_value(random, lines, spec.turns);
                       }});
}

Result<EvalSession> make_code(const SessionSpec& spec) {
  return fill_session(spec,
                      {.task = "S4", .smallest = spec.turns, .draft = [&](SeededRandom random, std::size_t functions) {
                         return spec.prose ? draft_code_in_prose(random, functions, spec.turns)
                                           : draft_code(random, functions, spec.turns);
                       }});
}

Result<EvalSession> make_code_key_value(const SessionSpec& spec) {
  return fill_session(spec,
                      {.task = "S12", .smallest = spec.turns, .draft = [&](SeededRandom random, std::size_t units) {
                         return spec.prose ? draft_code_key_value_in_prose(random, units, spec.turns)
                                           : draft_code_key_value(random, units, spec.turns);
                       }});
}

Result<EvalSession> make_prefix_suffix(const SessionSpec& spec) {
  const std::size_t fewest = 3 * fewest_targets(spec.turns) + spec.turns / 2;
  const std::size_t longest = spec.context_tokens < kTightTokens * fewest ? kMinWords : kMaxWords;
  return fill_session(spec, {.task = "S2", .smallest = fewest, .draft = [&](SeededRandom random, std::size_t lines) {
                               if (spec.prose) return draft_lines_in_prose(random, lines, spec.turns);
                               return draft_prefix_suffix(random, lines, longest, spec.turns);
                             }});
}

}  // namespace cairn::tasks

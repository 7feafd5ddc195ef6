// SPDX-License-Identifier: Apache-2.0
// S2: which line begins with these words and ends with those. Half of the questions are about lines that share one of
// the two with others, so that only both together tell them apart.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/eval/tasks/layout.h"
#include "cairn/eval/tasks/task_table.h"
#include "cairn/eval/tasks/words.h"

namespace cairn::tasks {
namespace {

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

}  // namespace

Result<Session> make_prefix_suffix(const SessionSpec& spec) {
  const std::size_t fewest = 3 * fewest_targets(spec.turns) + spec.turns / 2;
  const std::size_t longest = spec.context_tokens < kTightTokens * fewest ? kMinWords : kMaxWords;
  return fill_session(spec, {.task = "S2", .smallest = fewest, .draft = [&](SeededRandom random, std::size_t lines) {
                               return draft_prefix_suffix(random, lines, longest, spec.turns);
                             }});
}

}  // namespace cairn::tasks

// SPDX-License-Identifier: Apache-2.0
// S9: items with their labels, shown several times; which label does an item have that was shown?
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/eval/tasks/layout.h"
#include "cairn/eval/tasks/task_table.h"
#include "cairn/eval/tasks/words.h"

namespace cairn::tasks {
namespace {

constexpr std::size_t kLabelCounts[] = {2, 4, 6};
constexpr std::size_t kShotsEach = 4;  // about how often an item is shown
constexpr std::size_t kMaxRounds = 8;  // items of a label in one fifth

struct Shot {
  std::string_view item, label;
};

std::size_t pick_label_count(std::size_t shots_per_fifth, SeededRandom& random) {
  std::vector<std::size_t> fitting;
  for (const std::size_t count : kLabelCounts) {
    if (count <= shots_per_fifth) fitting.push_back(count);
  }
  return random.pick(fitting);
}

// Every item is shown in one fifth only, so that a question about it has a depth; every label belongs to as many items
// of a fifth as any other.
Draft draft_many_shot(SeededRandom random, std::size_t shots, const SessionSpec& spec) {
  const std::size_t per_fifth = shots / kFifths;
  const std::size_t labels = pick_label_count(per_fifth, random);
  const std::size_t items = labels * std::clamp<std::size_t>(per_fifth / (labels * kShotsEach), 1, kMaxRounds);
  const std::vector<std::string_view> words = draw_words(labels + kFifths * items, random);
  std::array<std::vector<Shot>, kFifths> known;
  std::vector<Shot> shown;
  for (std::size_t fifth = 0; fifth < kFifths; ++fifth) {
    for (std::size_t i = 0; i < items; ++i) {
      known[fifth].push_back({words[labels + fifth * items + i], words[i % labels]});
    }
    const std::size_t end = shots * (fifth + 1) / kFifths;
    while (shown.size() < end) {
      random.shuffle(known[fifth]);  // rounds, so that all are shown about equally often
      for (const Shot& shot : known[fifth]) {
        if (shown.size() < end) shown.push_back(shot);
      }
    }
  }
  const std::vector<std::uint32_t> depths = draw_depths(spec.turns, random);
  if (spec.shuffled_labels) {  // the last to draw: the control differs in nothing else
    for (std::size_t i = shown.size(); i > 1; --i) std::swap(shown[i - 1].label, shown[random.below(i)].label);
  }
  Draft draft;
  for (const Shot& shot : shown) draft.context += std::string(shot.item) + " -> " + std::string(shot.label) + "\n";
  for (const std::uint32_t depth : depths) {
    const Shot asked = known[depth].back();
    known[depth].pop_back();
    const std::string item(asked.item), label(asked.label);
    draft.turns.push_back(make_turn(item + " ->", " " + label + "\n", {label}, Metric::kExact));
    draft.turns.back().depth = depth;
  }
  return draft;
}

}  // namespace

Result<Session> make_many_shot(const SessionSpec& spec) {
  return fill_session(
      spec, {.task = "S9",
             .smallest = kFifths * kLabelCounts[0],
             .has_instruction = false,  // the shots are the instruction, and the questions go on with them
             .takes_rule = false,
             .draft = [&](SeededRandom random, std::size_t shots) { return draft_many_shot(random, shots, spec); }});
}

}  // namespace cairn::tasks

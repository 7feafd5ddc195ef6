// SPDX-License-Identifier: Apache-2.0
// Tasks whose answers take the whole context.
// S8: the largest, the smallest and the most common of many numbers, and how often some of them appear.
// S9: items with their labels, shown several times; which label does an item have that was shown?
#include <algorithm>
#include <array>
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

constexpr int kMaxNumber = 99, kMaxLowest = 40;
constexpr int kMinSpread = 30;  // between the smallest and the largest: room for those that are asked for
constexpr std::size_t kPerLine = 12;
// The least numbers that a fifth holds for every turn that asks for it: more than kMaxCopies and the edges.
constexpr std::size_t kPerTurn = 10;
constexpr int kMaxCopies = 5;  // of a number that is counted

enum class Kind { kLargest, kSmallest, kMaxCommon, kCount };

Turn ask(const std::string& question, int answer) {
  const std::string number = std::to_string(answer);
  return make_question(question, number, {number}, Metric::kFirstNumber);
}

// The numbers of a session while answers are planted among them.
class Numbers {
 public:
  Numbers(std::size_t count, int fewest_special, SeededRandom& random) : random_(random), taken_(count, false) {
    low_ = random.between(1, kMaxLowest);
    high_ = random.between(low_ + kMinSpread, kMaxNumber);
    for (int value = low_ + 1; value < high_; ++value) special_.push_back(value);
    random.shuffle(special_);  // the first are kept for questions, the others fill
    const std::vector<int> common(special_.begin() + fewest_special, special_.end());
    for (std::size_t i = 0; i < count; ++i) values_.push_back(random.pick(common));
    for (const int value : values_) ++counts_[static_cast<std::size_t>(value)];
  }

  int low() const { return low_; }
  int high() const { return high_; }
  int next_special() { return special_[used_++]; }
  std::size_t count(int value) const { return counts_[static_cast<std::size_t>(value)]; }

  // Writes the value over a number in the fifth, away from its edges, which lie elsewhere in bytes than in numbers.
  // False when answers fill the fifth.
  bool plant(int value, std::uint32_t depth) {
    const std::size_t begin = values_.size() * depth / kFifths, end = values_.size() * (depth + 1) / kFifths;
    const std::size_t edge = values_.size() / 40 + 1;
    const std::vector<std::size_t> free = free_places(begin + edge, end - edge);
    if (free.empty()) return false;
    write(random_.pick(free), value);
    return true;
  }

  // Until no other number is as common; false when there is no room for that. It does not matter where: this question
  // is about all of them.
  bool make_most_common(int value) {
    std::vector<std::size_t> free = free_places(0, values_.size());
    random_.shuffle(free);
    for (std::size_t used = 0;; ++used) {
      auto others = counts_;
      others[static_cast<std::size_t>(value)] = 0;
      if (count(value) > *std::ranges::max_element(others)) return true;
      if (used == free.size()) return false;
      write(free[used], value);
    }
  }

  std::string text() const {
    std::string text;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      if (i % kPerLine == 0) text += i == 0 ? "Numbers:" : "\nNumbers:";
      text += " " + std::to_string(values_[i]);
    }
    return text + "\n\n";
  }

 private:
  std::vector<std::size_t> free_places(std::size_t begin, std::size_t end) const {
    std::vector<std::size_t> free;
    for (std::size_t at = begin; at < end; ++at) {
      if (!taken_[at]) free.push_back(at);
    }
    return free;
  }

  void write(std::size_t at, int value) {
    --counts_[static_cast<std::size_t>(values_[at])];
    ++counts_[static_cast<std::size_t>(value)];
    values_[at] = value;
    taken_[at] = true;
  }

  SeededRandom& random_;
  int low_ = 0, high_ = 0;
  std::vector<int> special_, values_;
  std::vector<bool> taken_;  // holds an answer
  std::array<std::size_t, kMaxNumber + 1> counts_{};
  std::size_t used_ = 0;
};

Draft draft_numbers(SeededRandom random, std::size_t count, std::size_t turns) {
  std::vector<Kind> kinds = {Kind::kLargest, Kind::kSmallest, Kind::kMaxCommon};
  kinds.resize(std::max<std::size_t>(kFifths, turns), Kind::kCount);
  random.shuffle(kinds);
  kinds.resize(turns);
  const std::vector<std::uint32_t> depths = draw_depths(turns, random);
  Numbers numbers(count, static_cast<int>(kMaxTurns), random);
  Draft draft;
  for (std::size_t turn = 0; turn < turns; ++turn) {
    switch (kinds[turn]) {
      case Kind::kLargest:
        draft.placed &= numbers.plant(numbers.high(), depths[turn]);
        draft.turns.push_back(ask("What is the largest number?", numbers.high()));
        break;
      case Kind::kSmallest:
        draft.placed &= numbers.plant(numbers.low(), depths[turn]);
        draft.turns.push_back(ask("What is the smallest number?", numbers.low()));
        break;
      case Kind::kCount: {
        const int value = numbers.next_special(), copies = random.between(1, kMaxCopies);
        for (int i = 0; i < copies; ++i) draft.placed &= numbers.plant(value, depths[turn]);
        draft.turns.push_back(ask("How many times does " + std::to_string(value) + " appear?", copies));
        break;
      }
      case Kind::kMaxCommon: draft.turns.push_back({}); break;
    }
  }
  for (std::size_t turn = 0; turn < turns; ++turn) {
    if (kinds[turn] == Kind::kMaxCommon) {  // last, since planting other answers changes what is common
      const int value = numbers.next_special();
      draft.placed &= numbers.make_most_common(value);
      draft.turns[turn] = ask("What is the most common number?", value);
    }
    draft.turns[turn].depth = depths[turn];
  }
  draft.context = numbers.text();
  return draft;
}

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

Result<EvalSession> make_numbers(const SessionSpec& spec) {
  const std::size_t turns_per_fifth = std::max<std::size_t>(1, (spec.turns + kFifths - 1) / kFifths);
  return fill_session(spec, {.task = "S8",
                             .smallest = kPerTurn * kFifths * turns_per_fifth,
                             .draft = [&](SeededRandom random, std::size_t count) {
                               return draft_numbers(random, count, spec.turns);
                             }});
}

Result<EvalSession> make_many_shot(const SessionSpec& spec) {
  return fill_session(
      spec, {.task = "S9",
             .smallest = kFifths * kLabelCounts[0],
             .has_instruction = false,  // the shots are the instruction, and the questions go on with them
             .takes_rule = false,
             .draft = [&](SeededRandom random, std::size_t shots) { return draft_many_shot(random, shots, spec); }});
}

}  // namespace cairn::tasks

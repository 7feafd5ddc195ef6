// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <ranges>
#include <set>
#include <string>

#include "cairn/eval/session_test-inl.h"

namespace cairn {
namespace {

using namespace cairn::testing;

// How often every label is shown, and whether every item always has the same.
struct Shown {
  std::map<std::string, std::set<std::string>> items_of;
  std::map<std::string, std::size_t> shots_of;
  bool consistent = true;
};

Shown read_shots(const Session& session) {
  Shown shown;
  std::map<std::string, std::string> label_of;
  for (const std::string_view line : lines_of(session.context)) {
    const std::size_t arrow = line.find(" -> ");
    EXPECT_NE(arrow, line.npos);
    const std::string item(line.substr(0, arrow)), label(line.substr(arrow + 4));
    const auto known = label_of.insert({item, label}).first;
    shown.consistent &= known->second == label;
    shown.items_of[label].insert(item);
    ++shown.shots_of[label];
  }
  return shown;
}

TEST(ManyShot, LabelsAreBalanced) {
  std::set<std::size_t> label_counts;
  for (std::uint32_t index = 0; index < 50; ++index) {
    const Shown shown = read_shots(make_or_die(**find_task("S9"), spec_of(1, index, 1024)));
    EXPECT_TRUE(shown.consistent);
    label_counts.insert(shown.items_of.size());
    for (const auto& [label, items] : shown.items_of) {
      EXPECT_EQ(items.size(), shown.items_of.begin()->second.size());
      EXPECT_FALSE(shown.items_of.contains(*items.begin()));  // an item is no label
    }
    const auto [fewest, most] = std::ranges::minmax(shown.shots_of | std::views::values);
    EXPECT_LE(most - fewest, 10u);  // a round per fifth may be cut short
  }
  EXPECT_EQ(label_counts, std::set<std::size_t>({2, 4, 6}));
}

// The control keeps everything but which label stands behind which item.
TEST(ManyShot, ShuffledLabelsTellNothing) {
  SessionSpec spec = spec_of(1, 0, 1024);
  const Session honest = make_or_die(**find_task("S9"), spec);
  spec.shuffled_labels = true;
  const Session shuffled = make_or_die(**find_task("S9"), spec);
  const Shown before = read_shots(honest), after = read_shots(shuffled);
  EXPECT_TRUE(before.consistent);
  EXPECT_FALSE(after.consistent);
  EXPECT_EQ(before.shots_of, after.shots_of);
  for (std::size_t turn = 0; turn < honest.turns.size(); ++turn) {
    EXPECT_EQ(honest.turns[turn].query, shuffled.turns[turn].query);
    EXPECT_EQ(honest.turns[turn].answer, shuffled.turns[turn].answer);
  }
}

TEST(ManyShot, OtherTasksHaveNoLabelsToShuffle) {
  for (const Task& task : task_table()) {
    if (task.name == "S9") continue;
    SessionSpec spec = spec_of(1, 0, 512);
    const std::string honest = bytes_of(make_or_die(task, spec));
    spec.shuffled_labels = true;
    EXPECT_EQ(bytes_of(make_or_die(task, spec)), honest);
  }
}

}  // namespace
}  // namespace cairn

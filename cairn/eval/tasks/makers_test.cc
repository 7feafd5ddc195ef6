// SPDX-License-Identifier: Apache-2.0
// What single tasks promise beyond what all of them do.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <ranges>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/eval/session.h"
#include "cairn/eval/tasks/material.h"
#include "cairn/eval/tasks/session_test-inl.h"

namespace cairn::tasks {
namespace {

using namespace cairn::testing;

// kContains would take one name for the other.
TEST(People, NoNameContainsAnother) {
  SeededRandom random(1);
  const std::vector<Person> people = make_people(kMaxPeople, random);
  for (const Person& a : people) {
    for (const Person& b : people) {
      EXPECT_TRUE(&a == &b || !a.name.contains(b.name)) << a.name << " " << b.name;
    }
  }
}

TEST(People, UsualNamesComeFirst) {
  SeededRandom random(2);
  for (const std::size_t count : {3uz, 40uz, 41uz}) {
    const std::vector<Person> people = make_people(count, random);
    const auto usual = std::ranges::count_if(people, [](const Person& person) {
      return std::ranges::count(usual_names(), std::string_view(person.name)) > 0;
    });
    EXPECT_EQ(static_cast<std::size_t>(usual), std::min(count, usual_names().size()));
  }
}

TEST(People, EverybodyIsTheFriendOfOneOther) {
  SeededRandom random(3);
  for (const std::size_t count : {2uz, 3uz, 50uz}) {
    const auto friends = draw_friends(count, random);
    EXPECT_EQ(std::set(friends.begin(), friends.end()).size(), count);
    for (std::size_t i = 0; i < count; ++i) EXPECT_NE(friends[i], i);
  }
}

TEST(ChineseQa, NoValueIsHalfRightForAnother) {
  std::set<std::string> values;
  const std::string context = make_or_die(**find_task("S6"), spec_of(1, 0, 8192)).context;
  for (std::size_t at = 0, end = 0; (end = context.find("。", at)) != context.npos; at = end + 3) {
    const std::string_view sentence = std::string_view(context).substr(at, end - at);
    for (const std::string_view middle : {"住在", "的工作是", "的朋友是"}) {
      const std::size_t found = sentence.find(middle);
      if (found != sentence.npos) values.emplace(sentence.substr(found + middle.size()));
    }
  }
  EXPECT_GT(values.size(), 60u);
  for (const std::string& a : values) {
    for (const std::string& b : values) {
      EXPECT_EQ(is_correct(Metric::kCharF1, char_f1(a, b)), a == b) << a << " " << b;
    }
  }
}

// How often every label is shown, and whether every item always has the same.
struct Shown {
  std::map<std::string, std::set<std::string>> items_of;
  std::map<std::string, std::size_t> shots_of;
  bool consistent = true;
};

Shown read_shots(const EvalSession& session) {
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
  const EvalSession honest = make_or_die(**find_task("S9"), spec);
  spec.shuffled_labels = true;
  const EvalSession shuffled = make_or_die(**find_task("S9"), spec);
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

// Many questions on few numbers leave no room for some of their answers: then another draw is made, in bounded time.
TEST(Numbers, ManyTurnsOnShortContextsEnd) {
  const Task& task = **find_task("S8");
  for (std::uint32_t index = 0; index < 150; ++index) {
    for (std::uint32_t turns = 5; turns <= kMaxTurns; ++turns) {
      const auto session = task.make({.seed = 3,
                                      .index = index,
                                      .context_tokens = 450 + 7 * index,
                                      .turns = turns,
                                      .count_tokens = [](std::string_view text) { return text.size(); }});
      if (session) {
        EXPECT_EQ(session->turns.size(), turns);
      }
    }
  }
}

}  // namespace
}  // namespace cairn::tasks

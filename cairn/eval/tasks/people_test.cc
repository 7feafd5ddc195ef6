// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/tasks/people.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace cairn {
namespace {

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

}  // namespace
}  // namespace cairn

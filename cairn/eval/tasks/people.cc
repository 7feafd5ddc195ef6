// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/tasks/people.h"

#include <array>
#include <numeric>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/eval/tasks/layout.h"

namespace cairn::tasks {
namespace {

// clang-format off
constexpr std::string_view kNames[] = {
    "Anna", "Boris", "Carla", "David", "Elena", "Felix", "Grace", "Henry", "Irene", "James", "Karen", "Louis", "Maria",
    "Nora", "Oscar", "Paula", "Quinn", "Robert", "Sofia", "Thomas", "Ursula", "Victor", "Wendy", "Xavier", "Yvonne",
    "Zachary", "Alice", "Bruno", "Clara", "Diego", "Emma", "Frank", "Gina", "Hugo", "Ivan", "Julia", "Kevin", "Laura",
    "Mark", "Nina"};
constexpr std::string_view kCities[] = {
    "Paris", "London", "Berlin", "Madrid", "Rome", "Vienna", "Prague", "Dublin", "Lisbon", "Athens", "Warsaw", "Oslo",
    "Helsinki", "Cairo", "Tokyo", "Delhi", "Lima", "Boston", "Denver", "Seattle"};
constexpr std::string_view kJobs[] = {
    "teacher", "doctor", "lawyer", "farmer", "pilot", "writer", "singer", "painter", "baker", "driver", "nurse", "judge",
    "soldier", "sailor", "miner", "chef", "tailor", "banker", "poet", "dancer"};
// More names for long contexts: one of these, then one of those.
constexpr std::string_view kNameBegins[] = {
    "Bal", "Bren", "Cad", "Cor", "Dal", "Dor", "Fal", "Fen", "Gal", "Gor", "Hal", "Hel",
    "Jor", "Kal", "Kor", "Lor", "Mel", "Mor", "Nal", "Per", "Ral", "Sel", "Tal", "Vel"};
constexpr std::string_view kNameEnds[] = {
    "adan", "amir", "anda", "aric", "avin", "ebor", "edric", "elin", "emar", "enza",
    "iko", "imund", "isca", "ivor", "odan", "olf", "omir", "orin", "ovan", "umer"};
// clang-format on

constexpr std::size_t kMadeUp = std::size(kNameBegins) * std::size(kNameEnds);
static_assert(kMaxPeople <= std::size(kNames) + kMadeUp);

std::vector<std::string> draw_names(std::size_t count, SeededRandom& random) {
  std::vector<std::string> names(std::begin(kNames), std::end(kNames));
  if (count <= names.size()) {
    random.shuffle(names);
    names.resize(count);
    return names;
  }
  std::vector<std::size_t> made_up(kMadeUp);
  std::iota(made_up.begin(), made_up.end(), std::size_t{0});
  random.shuffle(made_up);
  for (std::size_t i = 0; names.size() < count; ++i) {
    const std::size_t ends = std::size(kNameEnds);
    names.push_back(std::string(kNameBegins[made_up[i] / ends]) + std::string(kNameEnds[made_up[i] % ends]));
  }
  random.shuffle(names);
  return names;
}

}  // namespace

std::span<const std::string_view> usual_names() {
  return kNames;
}
std::span<const std::string_view> cities() {
  return kCities;
}
std::span<const std::string_view> jobs() {
  return kJobs;
}

std::vector<std::size_t> draw_friends(std::size_t count, SeededRandom& random) {
  CAIRN_CHECK(count > 1);
  std::vector<std::size_t> cycle(count), friends(count);
  std::iota(cycle.begin(), cycle.end(), std::size_t{0});
  random.shuffle(cycle);
  for (std::size_t i = 0; i < count; ++i) friends[cycle[i]] = cycle[(i + 1) % count];
  return friends;
}

std::vector<Person> make_people(std::size_t count, SeededRandom& random) {
  CAIRN_CHECK(count <= kMaxPeople);
  std::vector<std::string> names = draw_names(count, random);
  const std::vector<std::size_t> friends = draw_friends(count, random);
  std::vector<Person> people;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string home(random.pick(cities())), job(random.pick(jobs()));
    people.push_back({std::move(names[i]), home, job, random.between(kMinAge, kMaxAge), friends[i]});
  }
  return people;
}

std::string relation_value(std::span<const Person> people, std::size_t person, Relation relation) {
  const Person& p = people[person];
  switch (relation) {
    case Relation::kHome: return p.home;
    case Relation::kJob: return p.job;
    case Relation::kAge: return std::to_string(p.age);
    case Relation::kFriend: return people[p.friend_index].name;
  }
  CAIRN_CHECK(false);
}

std::string relation_fact(std::span<const Person> people, std::size_t person, Relation relation, SeededRandom& random) {
  const std::string name = people[person].name, value = relation_value(people, person, relation);
  const bool paraphrase = random.below(2) == 1;
  switch (relation) {
    case Relation::kHome:
      return paraphrase ? "The home of " + name + " is " + value + "." : name + " lives in " + value + ".";
    case Relation::kJob:
      return paraphrase ? "The job of " + name + " is " + value + "." : name + " works as a " + value + ".";
    case Relation::kAge: return name + " is " + value + " years old.";
    case Relation::kFriend: return "The friend of " + name + " is " + value + ".";
  }
  CAIRN_CHECK(false);
}

std::string relation_question(std::string_view who, Relation relation) {
  const std::string name(who);
  switch (relation) {
    case Relation::kHome: return "Where does " + name + " live?";
    case Relation::kJob: return "What is the job of " + name + "?";
    case Relation::kAge: return "How old is " + name + "?";
    case Relation::kFriend: return "Who is the friend of " + name + "?";
  }
  CAIRN_CHECK(false);
}

Draft draft_statements(std::vector<Statement> statements, std::size_t turns, const Ask& ask, SeededRandom& random) {
  if (random.below(2) == 0) random.shuffle(statements);
  Draft draft;
  for (const Statement& statement : statements) draft.context += statement.text;
  draft.context += "\n\n";  // ends the line of facts, then the blank line
  std::array<std::vector<std::size_t>, kFifths> fifths;
  std::size_t at = 0;
  for (const Statement& statement : statements) {
    const std::size_t middle = at + statement.text.size() / 2, size = draft.context.size();
    const std::uint32_t depth = depth_of(middle, size);
    if (safely_inside(middle, size, depth)) fifths[depth].push_back(statement.id);
    at += statement.text.size();
  }
  for (auto& fifth : fifths) random.shuffle(fifth);
  for (const std::uint32_t depth : draw_depths(turns, random)) {
    draft.turns.emplace_back();
    if (fifths[depth].empty()) {
      draft.placed = false;
      continue;
    }
    draft.turns.back() = ask(fifths[depth].back());
    draft.turns.back().depth = depth;
    fifths[depth].pop_back();
  }
  return draft;
}

}  // namespace cairn::tasks

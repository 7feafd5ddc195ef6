// SPDX-License-Identifier: Apache-2.0
// S5: questions about people, some of which need a second fact ("the friend of"). S7: the same with four options.
#include <algorithm>
#include <string>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/eval/tasks/fill.h"
#include "cairn/eval/tasks/makers.h"
#include "cairn/eval/tasks/people.h"
#include "cairn/eval/tasks/question.h"
#include "cairn/eval/tasks/statements.h"

namespace cairn {
namespace {

constexpr std::size_t kFactsEach = std::size(kRelations);
constexpr std::size_t kMinFacts = 3 * kFactsEach;
constexpr double kTwoHops = 0.3;  // share of the questions that may be asked by way of a friend
constexpr std::string_view kLetters = "ABCD";

struct Question {
  std::string text;
  std::size_t person = 0;
  Relation relation = Relation::kHome;
};

// A fact is person * kFactsEach + relation; facts up to `count` are in the context.
Question question_for(std::size_t fact, std::span<const Person> people, std::size_t count, SeededRandom& random) {
  const std::size_t person = fact / kFactsEach;
  const Relation relation = kRelations[fact % kFactsEach];
  std::string who = people[person].name;
  if (relation != Relation::kFriend && random.unit() < kTwoHops) {
    const auto is_friend = [&](const Person& other) { return other.friend_index == person; };
    const auto other = static_cast<std::size_t>(std::ranges::find_if(people, is_friend) - people.begin());
    const std::size_t bridge = other * kFactsEach + static_cast<std::size_t>(Relation::kFriend);
    if (bridge < count) who = "the friend of " + people[other].name;
  }
  return {relation_question(who, relation), person, relation};
}

// What else the answer could be: values of the same kind.
std::vector<std::string> rivals(std::span<const Person> people, std::size_t asked, Relation relation) {
  std::vector<std::string> all;
  switch (relation) {
    case Relation::kHome: all.assign(cities().begin(), cities().end()); break;
    case Relation::kJob: all.assign(jobs().begin(), jobs().end()); break;
    case Relation::kAge:
      for (int age = kMinAge; age <= kMaxAge; ++age) all.push_back(std::to_string(age));
      break;
    case Relation::kFriend:  // names of the context, or only the right one would be familiar
      for (const Person& person : people) {
        if (&person != &people[asked]) all.push_back(person.name);
      }
      for (const std::string_view name : usual_names()) {  // three people do not make four options
        if (all.size() < kLetters.size() && name != people[asked].name && !std::ranges::count(all, name)) {
          all.emplace_back(name);
        }
      }
      break;
  }
  return all;
}

Turn choice_turn(const Question& question, const std::string& value, std::vector<std::string> options,
                 SeededRandom& random) {
  std::erase(options, value);
  random.shuffle(options);
  options.resize(kLetters.size() - 1);
  const std::size_t right = random.below(kLetters.size());
  options.insert(options.begin() + static_cast<std::ptrdiff_t>(right), value);
  Turn turn;
  turn.query = "Question: " + question.text + "\n";
  for (std::size_t i = 0; i < options.size(); ++i) {
    turn.query += std::string(1, kLetters[i]) + ". " + options[i] + "\n";
    turn.candidates.push_back(std::string(" ") + kLetters[i]);
  }
  turn.query += "Answer:";
  turn.gold = {turn.candidates[right]};
  turn.answer = turn.candidates[right] + "\n";
  turn.metric = Metric::kChoice;
  return turn;
}

Draft draft_qa(SeededRandom random, std::size_t facts, std::size_t turns, bool choices) {
  const std::vector<Person> people = make_people((facts + kFactsEach - 1) / kFactsEach, random);
  std::vector<Statement> statements;
  for (std::size_t fact = 0; fact < facts; ++fact) {
    const Relation relation = kRelations[fact % kFactsEach];
    statements.push_back({relation_fact(people, fact / kFactsEach, relation, random) + " ", fact});
  }
  const auto ask = [&](std::size_t fact) {
    const Question question = question_for(fact, people, facts, random);
    const std::string value = relation_value(people, question.person, question.relation);
    return choices ? choice_turn(question, value, rivals(people, question.person, question.relation), random)
                   : make_question(question.text, value, {value}, Metric::kContains);
  };
  return draft_statements(std::move(statements), turns, ask, random);
}

Result<Session> make(const SessionSpec& spec, std::string_view task, bool choices) {
  return fill_session(spec, {.task = task,
                             .smallest = kMinFacts,
                             .largest = kMaxPeople * kFactsEach,
                             .takes_rule = !choices,
                             .draft = [&](SeededRandom random, std::size_t facts) {
                               return draft_qa(random, facts, spec.turns, choices);
                             }});
}

}  // namespace

Result<Session> make_qa(const SessionSpec& spec) {
  return make(spec, "S5", false);
}
Result<Session> make_multiple_choice(const SessionSpec& spec) {
  return make(spec, "S7", true);
}

}  // namespace cairn

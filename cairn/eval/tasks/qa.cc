// SPDX-License-Identifier: Apache-2.0
// S5: questions about people, some of which need a second fact ("the friend of"). S7: the same with four options. S6:
// S5 in Chinese, without second hops.
#include <algorithm>
#include <iterator>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/eval/tasks/layout.h"
#include "cairn/eval/tasks/material.h"
#include "cairn/eval/tasks/task_table.h"

namespace cairn::tasks {
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

// What a fact says before its value, where it is not paraphrased.
std::string relation_begins(const std::string& name, Relation relation) {
  switch (relation) {
    case Relation::kHome: return name + " lives in";
    case Relation::kJob: return "The job of " + name + " is";
    case Relation::kAge: return name + " is";
    case Relation::kFriend: return "The friend of " + name + " is";
  }
  CAIRN_CHECK(false);
}

// The likeliest way to go on of four, which the question does not list: a small model takes to what it read last, and
// letters mean nothing to it. What the four begin with differs, since that is what is compared.
Turn cloze_turn(const Question& question, const std::string& value, std::vector<std::string> others,
                SeededRandom& random) {
  random.shuffle(others);
  if (question.relation == Relation::kFriend) {  // few people have few initials
    others.insert(others.end(), usual_names().begin(), usual_names().end());
  }
  std::vector<std::string> options = {value};
  for (std::string& other : others) {
    const auto begins_alike = [&](const std::string& option) { return option[0] == other[0]; };
    if (options.size() < kLetters.size() && std::ranges::none_of(options, begins_alike)) {
      options.push_back(std::move(other));
    }
  }
  random.shuffle(options);
  Turn turn = make_question(question.text, value, {" " + value}, Metric::kChoice);
  for (const std::string& option : options) turn.candidates.push_back(" " + option);
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

// One fact of each person that is asked about, each asked in one step, and prose.
Draft draft_qa_in_prose(SeededRandom random, std::size_t sentences, std::size_t turns, bool choices) {
  const std::vector<Person> people = make_people(std::max<std::size_t>(turns, 2), random);
  std::vector<TextUnit> units;
  std::vector<Turn> questions;
  for (std::size_t i = 0; i < turns; ++i) {
    const Relation relation = kRelations[i % kFactsEach];
    units.push_back(unit_of(relation_fact(people, i, relation, random) + " "));
    const Question question{relation_question(people[i].name, relation), i, relation};
    const std::string value = relation_value(people, i, relation);
    questions.push_back(led_by(relation_begins(people[i].name, relation),
                               choices ? cloze_turn(question, value, rivals(people, i, relation), random)
                                       : make_question(question.text, value, {value}, Metric::kContains)));
  }
  return draft_in_prose(std::move(units), sentences, std::move(questions), random);
}

Result<EvalSession> make_people_qa(const SessionSpec& spec, std::string_view task, bool choices) {
  return fill_session(spec, {.task = task,
                             .smallest = kMinFacts,
                             .largest = kMaxPeople * kFactsEach,
                             .takes_rule = !choices,
                             .draft = [&](SeededRandom random, std::size_t facts) {
                               if (spec.prose) return draft_qa_in_prose(random, facts, spec.turns, choices);
                               return draft_qa(random, facts, spec.turns, choices);
                             }});
}

namespace chinese {

// No answer has more than half of its characters from another one, or kCharF1 would take it for that: Oslo is left out
// because of Oscar.
// clang-format off
constexpr std::string_view kNames[] = {
    "安娜", "波里斯", "卡拉", "大卫", "伊琳娜", "菲利", "格蕾丝", "亨利", "艾琳", "詹姆", "卡琳", "路易", "玛丽", "诺拉",
    "奥斯卡", "宝拉", "罗伯", "索菲", "托马", "维克"};
constexpr std::string_view kCities[] = {
    "巴黎", "伦敦", "柏林", "马德里", "罗马", "维也纳", "北京", "上海", "东京", "开罗", "利马", "波士顿", "丹佛",
    "雅典", "华沙"};
constexpr std::string_view kJobs[] = {
    "老师", "医生", "律师", "农民", "作家", "歌手", "画家", "司机", "护士", "法官", "士兵", "厨师", "裁缝", "诗人", "舞者",
    "记者"};
// More names for long contexts: one of these, then one of those.
constexpr std::string_view kFamilyNames[] = {
    "王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "胡", "朱", "高", "林", "何", "郭", "梁", "宋"};
constexpr std::string_view kGivenNames[] = {
    "伟", "芳", "敏", "静", "强", "磊", "军", "洋", "勇", "艳", "杰", "娟", "涛", "明", "超", "霞", "平", "刚", "桂", "英",
    "华", "健", "玉", "红", "鹏", "辉", "梅", "飞", "鑫", "波", "宁", "云", "晶", "凯", "峰", "雷", "燕", "雪", "松", "海"};
// clang-format on

struct Kind {
  std::string_view fact, question;  // what stands between the name and the value, or the end
};
constexpr Kind kKinds[] = {{"住在", "住在哪里？"}, {"的工作是", "的工作是什么？"}, {"的朋友是", "的朋友是谁？"}};
constexpr std::size_t kFactsEach = std::size(kKinds);

constexpr std::size_t kMadeUp = std::size(kFamilyNames) * std::size(kGivenNames);
constexpr std::size_t kMaxNames = std::size(kNames) + kMadeUp;
constexpr std::size_t kMinFacts = 7;  // for five questions to find their fifths

std::vector<std::string> draw_names(std::size_t count, SeededRandom& random) {
  std::vector<std::string> names(std::begin(kNames), std::end(kNames));
  if (count > names.size()) {
    std::vector<std::size_t> made_up(kMadeUp);
    std::iota(made_up.begin(), made_up.end(), std::size_t{0});
    random.shuffle(made_up);
    for (std::size_t i = 0; names.size() < count; ++i) {
      const std::size_t given = std::size(kGivenNames);
      names.push_back(std::string(kFamilyNames[made_up[i] / given]) + std::string(kGivenNames[made_up[i] % given]));
    }
  }
  random.shuffle(names);
  names.resize(count);
  return names;
}

std::string draw_value(std::size_t kind, const std::string& friend_name, SeededRandom& random) {
  const std::span<const std::string_view> places(kCities), work(kJobs);
  return kind == 0 ? std::string(random.pick(places)) : kind == 1 ? std::string(random.pick(work)) : friend_name;
}

std::string fact_of(const std::string& name, std::size_t kind, const std::string& value) {
  return name + std::string(kKinds[kind].fact) + value + "。";
}

Turn ask(const std::string& name, std::size_t kind, const std::string& value) {
  return make_turn("问题：" + name + std::string(kKinds[kind].question) + "\n回答：", value + "\n", {value},
                   Metric::kCharF1);
}

Draft draft(SeededRandom random, std::size_t facts, std::size_t turns) {
  const std::size_t count = (facts + kFactsEach - 1) / kFactsEach;
  const std::vector<std::string> names = draw_names(count, random);
  const std::vector<std::size_t> friends = draw_friends(count, random);
  std::vector<std::string> values;
  std::vector<Statement> statements;
  for (std::size_t fact = 0; fact < facts; ++fact) {
    const std::size_t person = fact / kFactsEach, kind = fact % kFactsEach;
    values.push_back(draw_value(kind, names[friends[person]], random));
    statements.push_back({fact_of(names[person], kind, values.back()), fact});
  }
  return draft_statements(
      std::move(statements), turns,
      [&](std::size_t fact) { return ask(names[fact / kFactsEach], fact % kFactsEach, values[fact]); }, random);
}

// One fact of each person that is asked about; the prose is English.
Draft draft_among_prose(SeededRandom random, std::size_t sentences, std::size_t turns) {
  const std::vector<std::string> names = draw_names(turns + 1, random);
  std::vector<TextUnit> units;
  std::vector<Turn> questions;
  for (std::size_t i = 0; i < turns; ++i) {
    const std::size_t kind = i % kFactsEach;
    const std::string value = draw_value(kind, names[turns], random);
    units.push_back(unit_of(fact_of(names[i], kind, value) + " "));
    questions.push_back(led_by(names[i] + std::string(kKinds[kind].fact), ask(names[i], kind, value)));
  }
  return draft_in_prose(std::move(units), sentences, std::move(questions), random);
}

}  // namespace chinese

}  // namespace

Result<EvalSession> make_qa(const SessionSpec& spec) {
  return make_people_qa(spec, "S5", false);
}
Result<EvalSession> make_multiple_choice(const SessionSpec& spec) {
  return make_people_qa(spec, "S7", true);
}

Result<EvalSession> make_chinese_qa(const SessionSpec& spec) {
  return fill_session(spec, {.task = "S6",
                             .smallest = chinese::kMinFacts,
                             .largest = chinese::kMaxNames * chinese::kFactsEach,
                             .draft = [&](SeededRandom random, std::size_t facts) {
                               return spec.prose ? chinese::draft_among_prose(random, facts, spec.turns)
                                                 : chinese::draft(random, facts, spec.turns);
                             }});
}

}  // namespace cairn::tasks

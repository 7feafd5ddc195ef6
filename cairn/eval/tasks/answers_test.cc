// SPDX-License-Identifier: Apache-2.0
// Every question is answered again from the text of the context alone, by readers that share nothing with the
// generators, and the place of the evidence is compared with the depth.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/eval/tasks/layout.h"
#include "cairn/eval/tasks/session_test-inl.h"

namespace cairn::tasks {
namespace {

using namespace cairn::testing;

struct Line {
  std::string text;
  std::size_t at = 0;  // its middle in the context
};

// Pieces of the context that end with `end`, which is left out.
std::vector<Line> split(std::string_view context, std::string_view end) {
  std::vector<Line> lines;
  for (std::size_t at = 0; at < context.size();) {
    const std::size_t next = std::min(context.find(end, at), context.size());
    lines.push_back({std::string(context.substr(at, next - at)), (at + next) / 2});
    at = next + end.size();
  }
  return lines;
}

// What stands between the two in the text, both of which must be there.
std::string between(const std::string& text, const std::string& before, const std::string& after) {
  const std::size_t begin = text.find(before);
  RC_ASSERT(begin != text.npos);
  const std::size_t end = text.find(after, begin + before.size());
  RC_ASSERT(end != text.npos);
  return text.substr(begin + before.size(), end - begin - before.size());
}

bool matches(const std::string& text, const std::string& begin, const std::string& end) {
  return text.size() >= begin.size() + end.size() && text.starts_with(begin) && text.ends_with(end);
}

void check_answer(const EvalSession& session, const Turn& turn, const std::string& answer, std::size_t at) {
  RC_ASSERT(turn.answer == " " + answer + "\n");
  RC_ASSERT(turn.depth == depth_of(at, session.context.size()));
}

// The one line that begins and ends so.
Line only_line(const EvalSession& session, const std::string& begin, const std::string& end) {
  std::vector<Line> found;
  for (const Line& line : split(session.context, "\n")) {
    if (matches(line.text, begin, end)) found.push_back(line);
  }
  RC_ASSERT(found.size() == 1u);
  return found[0];
}

void check_key_value(const EvalSession& session, const Turn& turn) {
  const std::string begin = "The code of " + between(turn.query, "What is the code of ", "?\nAnswer:") + " is ";
  const Line line = only_line(session, begin, ".");
  check_answer(session, turn, between(line.text, begin, "."), line.at);
}

void check_prefix_suffix(const EvalSession& session, const Turn& turn) {
  const std::string begin = "- " + between(turn.query, "begins with ", " and ends") + " ";
  const std::string end = " " + between(turn.query, "ends with ", "?") + ".";
  const Line line = only_line(session, begin, end);
  check_answer(session, turn, line.text.substr(2), line.at);
  std::size_t begins = 0, ends = 0;
  for (const Line& other : split(session.context, "\n")) {
    begins += other.text.starts_with(begin);
    ends += other.text.ends_with(end);
  }
  const std::size_t expected = turn.column == "twins" ? 3 : 1;  // two distractors each, or none
  RC_ASSERT(turn.column == "twins" || turn.column == "single");
  RC_ASSERT(begins == expected);
  RC_ASSERT(ends == expected);
}

void check_multi_hop(const EvalSession& session, const Turn& turn) {
  std::string holds = between(turn.query, "Which variables hold ", "?"), names;
  std::size_t first = 0;
  for (const Line& line :
       split(session.context, "\n")) {  // in the order of the text, so a link must lie behind its source
    if (!line.text.starts_with("COPY " + holds + " TO ")) continue;
    if (names.empty()) first = line.at;
    holds = between(line.text, " TO ", ".");
    names += (names.empty() ? "" : " ") + holds;
  }
  RC_ASSERT(turn.gold.size() == 2u);
  check_answer(session, turn, names, first);
}

void check_code(const EvalSession& session, const Turn& turn) {
  const std::map<std::string, std::string> words = {
      {"order", "sort"},   {"remove", "drop"},  {"tally", "count"},     {"join", "merge"},    {"show", "print"},
      {"store", "save"},   {"clone", "copy"},   {"divide", "split"},    {"little", "small"},  {"big", "large"},
      {"ancient", "old"},  {"fresh", "new"},    {"blank", "empty"},     {"initial", "first"}, {"final", "last"},
      {"quick", "fast"},   {"labels", "names"}, {"figures", "numbers"}, {"papers", "files"},  {"terms", "words"},
      {"people", "users"}, {"rows", "lines"},   {"pictures", "images"}, {"days", "dates"}};
  std::string comment = "#";
  for (const Line& word : split(between(turn.query, "Which code will ", "?"), " "))
    comment += " " + words.at(word.text);
  const Line line = only_line(session, comment, "");
  const std::string code = between(session.context, comment + "\n", "\n");
  RC_ASSERT(code.starts_with("def "));
  check_answer(session, turn, code, line.at + code.size() / 2);
  std::vector<std::string> bodies;
  for (const Line& each : split(session.context, "\n")) {
    if (each.text.starts_with("def ")) bodies.push_back(each.text);
  }
  std::vector<std::string> candidates = turn.candidates;
  std::ranges::sort(bodies);
  std::ranges::sort(candidates);
  RC_ASSERT(bodies == candidates);
}

struct Fact {
  std::string value;
  std::size_t at = 0;
};
using Facts = std::map<std::string, Fact>;  // by the question for it, without the question mark

Facts read_people(std::string_view context) {
  Facts facts;
  for (const Line& line : split(context, ". ")) {
    const std::string text = line.text + ".";
    const auto read = [&](const char* begin, const char* middle, const char* end, const char* ask, const char* after) {
      const std::size_t at = text.find(middle, std::string_view(begin).size());
      if (!matches(text, begin, end) || at == text.npos) return;
      const std::string name = between(text, begin, middle);
      const bool is_new = facts.insert({ask + name + after, {between(text, middle, end), line.at}}).second;
      RC_ASSERT(is_new);
    };
    read("", " lives in ", ".", "Where does ", " live");
    read("The home of ", " is ", ".", "Where does ", " live");
    read("", " works as a ", ".", "What is the job of ", "");
    read("The job of ", " is ", ".", "What is the job of ", "");
    read("", " is ", " years old.", "How old is ", "");
    read("The friend of ", " is ", ".", "Who is the friend of ", "");
  }
  return facts;
}

Fact answer_about_people(const EvalSession& session, const Turn& turn) {
  const Facts facts = read_people(session.context);
  std::string question = between(turn.query, "Question: ", "?");
  const std::string hop = "the friend of ";
  const std::size_t at = question.find(hop);
  if (at != question.npos && !question.starts_with("Who")) {
    const std::size_t end = std::min(question.find(' ', at + hop.size()), question.size());
    const std::string name = question.substr(at + hop.size(), end - at - hop.size());
    question.replace(at, end - at, facts.at("Who is " + hop + name).value);
  }
  return facts.at(question);
}

void check_qa(const EvalSession& session, const Turn& turn) {
  const Fact fact = answer_about_people(session, turn);
  check_answer(session, turn, fact.value, fact.at);
}

void check_multiple_choice(const EvalSession& session, const Turn& turn) {
  const Fact fact = answer_about_people(session, turn);
  std::set<std::string> options;
  for (const char* letter : {"A", "B", "C", "D"}) {
    const std::string option = between(turn.query, "\n" + std::string(letter) + ". ", "\n");
    options.insert(option);
    if (option == fact.value) check_answer(session, turn, letter, fact.at);
  }
  RC_ASSERT(options.size() == 4u);
  RC_ASSERT(options.contains(fact.value));
  RC_ASSERT(turn.candidates == (std::vector<std::string>{" A", " B", " C", " D"}));
}

void check_chinese_qa(const EvalSession& session, const Turn& turn) {
  const std::string question = between(turn.query, "问题：", "？\n回答：");
  std::vector<Fact> found;
  for (const auto& [asked, stated] : std::map<std::string, std::string>{
           {"住在哪里", "住在"}, {"的工作是什么", "的工作是"}, {"的朋友是谁", "的朋友是"}}) {
    if (!question.ends_with(asked)) continue;
    const std::string begin = question.substr(0, question.size() - asked.size()) + stated;
    for (const Line& line : split(session.context, "。")) {
      if (line.text.starts_with(begin)) found.push_back({line.text.substr(begin.size()), line.at});
    }
  }
  RC_ASSERT(found.size() == 1u);
  RC_ASSERT(turn.answer == found[0].value + "\n");
  RC_ASSERT(turn.depth == depth_of(found[0].at, session.context.size()));
}

void check_numbers(const EvalSession& session, const Turn& turn) {
  std::map<int, std::vector<std::size_t>> places;
  for (std::size_t at = 0; at < session.context.size(); ++at) {
    if (session.context[at] != ' ') continue;
    places[std::stoi(session.context.substr(at + 1))].push_back(at + 1);
  }
  int answer = 0;
  std::vector<std::size_t> evidence;
  const std::string question = between(turn.query, "Question: ", "?");
  if (question.contains("largest")) {
    answer = places.rbegin()->first;
    evidence = places.rbegin()->second;
  } else if (question.contains("smallest")) {
    answer = places.begin()->first;
    evidence = places.begin()->second;
  } else if (question.contains("most common")) {
    const auto fewer = [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); };
    const auto most = std::ranges::max_element(places, fewer);
    answer = most->first;
    const auto as_common = [&](const auto& each) { return each.second.size() == most->second.size(); };
    RC_ASSERT(std::ranges::count_if(places, as_common) == 1);
  } else {
    evidence = places.at(std::stoi(between(question, "How many times does ", " appear")));
    answer = static_cast<int>(evidence.size());
  }
  RC_ASSERT(turn.answer == " " + std::to_string(answer) + "\n");
  for (const std::size_t at : evidence) RC_ASSERT(depth_of(at, session.context.size()) == turn.depth);
}

void check_many_shot(const EvalSession& session, const Turn& turn) {
  const std::string begin = turn.query + " ";
  std::set<std::string> labels;
  std::size_t shots = 0;
  double sum = 0;
  for (const Line& line : split(session.context, "\n")) {
    if (!line.text.starts_with(begin)) continue;
    labels.insert(line.text.substr(begin.size()));
    sum += static_cast<double>(line.at);
    ++shots;
  }
  RC_ASSERT(labels.size() == 1u);
  RC_ASSERT(turn.answer == " " + *labels.begin() + "\n");
  // Fifths of the shots, which are not quite fifths of the bytes.
  const double share = sum / static_cast<double>(shots * session.context.size());
  RC_ASSERT(share > turn.depth / 5.0 - 0.05 && share < (turn.depth + 1) / 5.0 + 0.05);
}

void check_key_facts(const EvalSession& session, const Turn& turn) {
  const std::string header = "## Document " + between(turn.query, "key facts of document ", ".\nAnswer:") + "\n";
  const std::size_t begin = session.context.find(header);
  RC_ASSERT(begin != session.context.npos);
  const std::size_t end = std::min(session.context.find("## ", begin + 3), session.context.size() - 1);
  std::string facts;
  for (const Line& line : split(std::string_view(session.context).substr(begin, end - begin), "\n")) {
    if (line.text.starts_with("* ")) facts += (facts.empty() ? "" : " ") + line.text.substr(2);
  }
  check_answer(session, turn, facts, (begin + end) / 2);
  std::set<std::string> seen;  // a fact of two documents would be half right for the wrong one
  for (const Line& line : split(session.context, "\n")) {
    if (line.text.starts_with("* ") || line.text.starts_with("- ")) RC_ASSERT(seen.insert(line.text.substr(2)).second);
  }
}

void check_facts_needles(const EvalSession& session, const Turn& turn) {
  RC_ASSERT(turn.column == (turn.query.contains("magic") ? "needle" : "facts"));
  if (turn.column == "facts") return check_key_facts(session, turn);
  const std::string number = "special magic number for " + between(turn.query, "magic number for ", "?") + " is ";
  const Line line = only_line(session, "The " + number, ".");
  check_answer(session, turn, between(line.text, number, "."), line.at);
}

void check_code_key_value(const EvalSession& session, const Turn& turn) {
  RC_ASSERT(turn.column == (turn.query.contains("Which code") ? "code" : "key-value"));
  turn.column == "code" ? check_code(session, turn) : check_key_value(session, turn);
}

struct Reader {
  std::string_view task;
  void (*check)(const EvalSession&, const Turn&);
};
constexpr Reader kReaders[] = {
    {"S1", check_key_value}, {"S2", check_prefix_suffix}, {"S3", check_multi_hop},       {"S4", check_code},
    {"S5", check_qa},        {"S6", check_chinese_qa},    {"S7", check_multiple_choice}, {"S8", check_numbers},
    {"S9", check_many_shot}, {"S10", check_key_facts},    {"S11", check_facts_needles},  {"S12", check_code_key_value}};

TEST(Answers, ThereIsAReaderForEveryTask) {
  EXPECT_EQ(std::size(kReaders), task_table().size());
}

class Answers : public ::testing::TestWithParam<Reader> {};
INSTANTIATE_TEST_SUITE_P(Suite, Answers, ::testing::ValuesIn(kReaders),
                         [](const auto& param) { return std::string(param.param.task); });

TEST_P(Answers, FollowFromTheContext) {
  const Task& task = **find_task(GetParam().task);
  EXPECT_TRUE(rc::check([&] {
    SessionSpec spec = spec_of(*rc::gen::arbitrary<std::uint64_t>(), 0, *rc::gen::inRange(288u, 3000u));
    if (*rc::gen::arbitrary<bool>()) spec.count_tokens = count_by_bytes;
    const EvalSession session = make_or_die(task, spec);
    for (const Turn& turn : session.turns) GetParam().check(session, turn);
  }));
}

TEST_P(Answers, FollowFromLongContextsWithManyTurns) {
  const Task& task = **find_task(GetParam().task);
  EXPECT_TRUE(rc::check([&] {
    SessionSpec spec = spec_of(*rc::gen::arbitrary<std::uint64_t>(), 0, 8192);
    spec.turns = kMaxTurns;
    const EvalSession session = make_or_die(task, spec);
    for (const Turn& turn : session.turns) GetParam().check(session, turn);
  }));
}

}  // namespace
}  // namespace cairn::tasks

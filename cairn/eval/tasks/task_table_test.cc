// SPDX-License-Identifier: Apache-2.0
// What holds for the sessions of every task. Whether the answers follow from the contexts: tasks/answers_test.cc.
#include "cairn/eval/tasks/task_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "cairn/eval/session.h"
#include "cairn/eval/tasks/layout.h"
#include "cairn/eval/tasks/session_test-inl.h"

namespace cairn::tasks {
namespace {

using namespace cairn::testing;
using ::testing::HasSubstr;

constexpr std::uint32_t kSmall = 288;  // here even the longest of the smallest sessions fits

SessionSpec any_spec(std::uint32_t max_tokens = 2048) {
  SessionSpec spec = spec_of(*rc::gen::arbitrary<std::uint64_t>(), *rc::gen::inRange(0u, 1000u),
                             *rc::gen::inRange(kSmall, max_tokens + 1));
  if (*rc::gen::arbitrary<bool>()) spec.count_tokens = count_by_bytes;
  return spec;
}

TEST(TaskTable, HasTwelveTasksInOrder) {
  ASSERT_EQ(task_table().size(), 12u);
  std::set<std::string_view> titles;
  for (std::size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(task_table()[i].name, "S" + std::to_string(i + 1));
    titles.insert(task_table()[i].title);
  }
  EXPECT_EQ(titles.size(), 12u);
}

TEST(TaskTable, FindsByNameAndTitleInAnyCase) {
  for (const Task& task : task_table()) {
    EXPECT_EQ(*find_task(task.name), &task);
    EXPECT_EQ(*find_task(task.title), &task);
  }
  EXPECT_EQ(*find_task("s10"), &task_table()[9]);
  EXPECT_EQ(*find_task("Key-Value"), &task_table()[0]);
  const auto none = find_task("s13\n");
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(none.error().message, HasSubstr("S12 (code-key-value)"));
  EXPECT_FALSE(none.error().message.contains('\n'));
}

class EveryTask : public ::testing::TestWithParam<Task> {};
INSTANTIATE_TEST_SUITE_P(Suite, EveryTask, ::testing::ValuesIn(task_table().begin(), task_table().end()),
                         [](const auto& param) { return std::string(param.param.name); });

void check_form(const Task& task, const SessionSpec& spec, const EvalSession& session) {
  RC_ASSERT(session.task == task.name);
  RC_ASSERT(session.index == spec.index);
  RC_ASSERT(session.context_tokens == spec.context_tokens);
  RC_ASSERT(session.turns.size() == spec.turns);
  RC_ASSERT(session.instruction.empty() || session.instruction.ends_with(".\n"));
  RC_ASSERT(session.context.ends_with(task.name == "S9" ? "\n" : "\n\n"));
  RC_ASSERT(!session.context.contains("\n\n\n") && !session.context.starts_with("\n"));
  for (const Turn& turn : session.turns) {
    RC_ASSERT(!turn.gold.empty());
    RC_ASSERT(!turn.query.ends_with(' '));  // the answer brings the blank
    RC_ASSERT(turn.answer.find('\n') == turn.answer.size() - 1);
    const double tokens = static_cast<double>(spec.count_tokens(turn.answer));
    RC_ASSERT(turn.max_tokens == std::ceil(1.5 * tokens) + 4);
  }
}

void check_budget(const SessionSpec& spec, const EvalSession& session) {
  const std::size_t used = spec.count_tokens(session.instruction + session.context);
  RC_ASSERT(used <= spec.context_tokens);
  RC_ASSERT(static_cast<double>(used) >= kMinFill * spec.context_tokens);
}

void check_scores(const EvalSession& session) {
  for (const Turn& turn : session.turns) {
    RC_ASSERT(score_answer(turn, turn.answer) == 1);
    for (const Turn& other : session.turns) {
      if (other.answer == turn.answer) continue;
      RC_ASSERT(!is_correct(turn.metric, score_answer(turn, other.answer)));
    }
    RC_ASSERT(!is_correct(turn.metric, score_answer(turn, "")));
  }
}

void check_questions(const EvalSession& session) {
  std::set<std::string> queries;
  std::set<std::uint32_t> depths;
  for (std::size_t i = 0; i < session.turns.size(); ++i) {
    queries.insert(session.turns[i].query);
    if (i < kFifths) depths.insert(session.turns[i].depth);
  }
  RC_ASSERT(queries.size() == session.turns.size());
  RC_ASSERT(depths.size() == std::min<std::size_t>(kFifths, session.turns.size()));
  RC_ASSERT(*depths.rbegin() < kFifths);
}

TEST_P(EveryTask, MakesSoundSessions) {
  EXPECT_TRUE(rc::check([&] {
    const SessionSpec spec = any_spec();
    const EvalSession session = make_or_die(GetParam(), spec);
    check_form(GetParam(), spec, session);
    check_budget(spec, session);
    check_scores(session);
    check_questions(session);
  }));
}

TEST_P(EveryTask, FillsContextsOfAllSizes) {
  for (const auto& count : {CountTokens(count_by_pieces), CountTokens(count_by_bytes)}) {
    for (const std::uint32_t tokens : {256u, 288u, 512u, 1024u, 2048u, 4096u, 8192u}) {
      for (std::uint32_t index = 0; index < 4; ++index) {
        const SessionSpec spec = spec_of(7, index, tokens, count);
        const auto session = GetParam().make(spec);
        ASSERT_TRUE(session.has_value()) << session.error().message;
        const std::size_t used = count(session->instruction + session->context);
        EXPECT_LE(used, tokens);
        EXPECT_GE(static_cast<double>(used), 0.85 * tokens) << tokens;
      }
    }
  }
}

TEST_P(EveryTask, CountsTokensALinearNumberOfTimes) {
  std::size_t bytes = 0;
  const SessionSpec spec = spec_of(1, 0, 8192, [&](std::string_view text) {
    bytes += text.size();
    return count_by_pieces(text);
  });
  const EvalSession session = make_or_die(GetParam(), spec);
  EXPECT_LE(bytes, 20 * session.context.size());
}

TEST_P(EveryTask, RepeatsItselfAndOnlyThen) {
  EXPECT_TRUE(rc::check([&] {
    const SessionSpec spec = any_spec(512);
    const std::string bytes = bytes_of(make_or_die(GetParam(), spec));
    RC_ASSERT(bytes == bytes_of(make_or_die(GetParam(), spec)));
    SessionSpec other = spec;
    ++other.index;
    RC_ASSERT(bytes != bytes_of(make_or_die(GetParam(), other)));
    other = spec;
    ++other.seed;
    RC_ASSERT(bytes != bytes_of(make_or_die(GetParam(), other)));
  }));
}

TEST_P(EveryTask, TakesFewAndManyTurns) {
  EXPECT_TRUE(rc::check([&] {
    SessionSpec spec = any_spec();
    spec.context_tokens += 512;
    spec.turns = *rc::gen::inRange(1u, kMaxTurns + 1);
    const EvalSession session = make_or_die(GetParam(), spec);
    check_form(GetParam(), spec, session);
    check_budget(spec, session);
    check_scores(session);
    check_questions(session);
  }));
}

TEST_P(EveryTask, RefusesWhatItCannotMake) {
  const auto refused = [&](const SessionSpec& spec) {
    const auto session = GetParam().make(spec);
    ASSERT_FALSE(session.has_value());
    EXPECT_EQ(session.error().code, ErrorCode::kInvalidArgument);
    EXPECT_FALSE(session.error().message.contains('\n'));
    EXPECT_TRUE(session.error().message.starts_with(GetParam().name)) << session.error().message;
  };
  refused(spec_of(1, 0, 0));
  refused(spec_of(1, 0, kMinContextTokens - 1));
  refused(spec_of(1, 0, 200, [](std::string_view text) { return 2 * text.size(); }));  // no room for five questions
  SessionSpec spec = spec_of(1, 0, 1024);
  spec.turns = 0;
  refused(spec);
  spec.turns = kMaxTurns + 1;
  refused(spec);
}

TEST_P(EveryTask, RuleHoldsForEveryAnswer) {
  SessionSpec spec = spec_of(5, 0, 1024);
  spec.rule = true;
  if (!GetParam().takes_rule) {
    EXPECT_EQ(GetParam().make(spec).error().code, ErrorCode::kInvalidArgument);
    return;
  }
  const EvalSession session = make_or_die(GetParam(), spec);
  EXPECT_LE(spec.count_tokens(session.instruction + session.context), spec.context_tokens);
  for (const Turn& turn : session.turns) {
    const std::string word = turn.begins_with;
    EXPECT_EQ(session.instruction, "Rule: every answer starts with the word " + word + ".\n");
    const std::string start = (turn.query.ends_with("Answer:") ? " " : "") + word + " ";
    ASSERT_TRUE(turn.answer.starts_with(start)) << turn.answer;
    EXPECT_EQ(score_answer(turn, turn.answer), 1);
    EXPECT_EQ(score_answer(turn, " " + turn.answer.substr(start.size())), 0);
  }
}

TEST(Tasks, SayWhereTheirMaterialEnds) {
  const auto session = (*find_task("chinese-qa"))->make(spec_of(1, 0, 1'000'000));
  ASSERT_FALSE(session.has_value());
  EXPECT_EQ(session.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(session.error().message, HasSubstr("ask for a shorter context"));
}

}  // namespace
}  // namespace cairn::tasks

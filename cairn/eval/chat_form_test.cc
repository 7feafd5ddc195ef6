// SPDX-License-Identifier: Apache-2.0
// The chat form: what becomes of questions and metrics, and the tokens of a session in it.
#include "cairn/eval/chat_form.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "cairn/eval/session_tokens.h"
#include "cairn/eval/tasks/session_test-inl.h"
#include "cairn/testing/tokenizer_data.h"

namespace cairn {
namespace {

std::shared_ptr<const ChatForm> chatml() {
  return std::make_shared<const ChatForm>(ChatFamily::kChatML);
}

EvalSession plain_session() {
  EvalSession session;
  session.task = "test";
  session.instruction = "Read.\n";
  session.context = "The code of aa is 123.\n\n";
  Turn asks;
  asks.query = "Question: What is the code of aa?\nAnswer:";
  asks.answer = " 123\n";
  asks.gold = {"123"};
  asks.max_tokens = 6;
  Turn leads = asks;
  leads.query += " The code of aa is";
  Turn chooses = asks;
  chooses.query = "Question: Which?\nA. x\nB. y\nAnswer:";
  chooses.answer = " B\n";
  chooses.gold = {" B"};
  chooses.candidates = {" A", " B"};
  chooses.metric = Metric::kChoice;
  session.turns = {asks, leads, chooses};
  return session;
}

std::string text(const Tokenizer& tokenizer, const std::vector<TokenId>& tokens) {
  return tokenizer.decode(tokens, {.show_control = true, .continues_text = true});
}

TEST(ChatForm, ASpeakerHasTheirWordsAndMetricsAreTolerant) {
  const EvalSession session = in_chat_form(plain_session(), chatml());
  EXPECT_EQ(session.turns[0].query, "What is the code of aa?");
  EXPECT_EQ(session.turns[0].lead, "");
  EXPECT_EQ(session.turns[0].answer, "123");
  EXPECT_EQ(session.turns[0].metric, Metric::kWholeWord);
  EXPECT_GT(session.turns[0].max_tokens, 6u);
  EXPECT_EQ(session.turns[1].query, "What is the code of aa?");
  EXPECT_EQ(session.turns[1].lead, "The code of aa is");
  EXPECT_EQ(session.turns[1].answer, " 123");
  EXPECT_EQ(session.turns[2].query, "Which?\nA. x\nB. y\nAnswer with the letter.");
  EXPECT_EQ(session.turns[2].candidates, (std::vector<std::string>{"A", "B"}));
  EXPECT_EQ(session.turns[2].metric, Metric::kChoice);
  EXPECT_EQ(score_choice(session.turns[2], 1), 1);
}

TEST(ChatForm, EveryQuestionIsAUsersTurnAfterTheContext) {
  const auto tokenizer = testing::must_make(testing::bpe_data());
  const EvalSession session = in_chat_form(plain_session(), chatml());
  const auto tokens = tokens_of(*tokenizer, session);
  ASSERT_TRUE(tokens.has_value()) << tokens.error().message;
  const std::vector<ChatMessage> talk = {{ChatRole::kUser, session.instruction + session.context},
                                         {ChatRole::kAssistant, std::string(kContextRead)},
                                         {ChatRole::kUser, "What is the code of aa?"},
                                         {ChatRole::kAssistant, "The code of aa is 123"}};
  const auto so_far = [&](std::size_t messages, bool opens) {
    return session.chat->tokens(*tokenizer, std::span(talk).first(messages), opens).value();
  };
  const auto joined = [&](std::vector<TokenId> more) {
    std::vector<TokenId> all = tokens->context;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  EXPECT_EQ(tokens->context, so_far(2, false));
  EXPECT_EQ(joined(tokens->turns[0].query), so_far(3, true));
  EXPECT_EQ(joined(tokens->turns[1].asked), so_far(4, false));
  std::vector<TokenId> led = so_far(3, true);
  const auto lead = tokenizer->encode("The code of aa is", {.add_bos = false});
  led.insert(led.end(), lead.begin(), lead.end());
  EXPECT_EQ(joined(tokens->turns[1].query), led);
  ASSERT_EQ(tokens->turns[2].candidates.size(), 2u);
  EXPECT_EQ(tokens->turns[2].candidates[1], tokenizer->encode("B", {.add_bos = false}).front());
  // What is pinned ends with the instruction.
  const std::vector<TokenId> pinned(tokens->context.begin(),
                                    tokens->context.begin() + static_cast<std::ptrdiff_t>(tokens->pinned));
  EXPECT_TRUE(text(*tokenizer, pinned).ends_with("Read.\n")) << text(*tokenizer, pinned);
}

TEST(ChatForm, WithoutContextTheQuestionsStandAlone) {
  const auto tokenizer = testing::must_make(testing::bpe_data());
  EvalSession session = in_chat_form(plain_session(), chatml());
  session.instruction.clear();
  const auto tokens = tokens_of(*tokenizer, session, false);
  ASSERT_TRUE(tokens.has_value());
  EXPECT_TRUE(tokens->context.empty());
  const ChatMessage question[] = {{ChatRole::kUser, "What is the code of aa?"}};
  EXPECT_EQ(tokens->turns[0].query, session.chat->tokens(*tokenizer, question, true).value());
}

TEST(ChatForm, ProseHoldsEveryAnswerInTheFifthOfItsQuestion) {
  for (const char* name : {"S1", "S2", "S3", "S5", "S11"}) {
    const tasks::Task& task = **tasks::find_task(name);
    for (std::uint32_t index = 0; index < 4; ++index) {
      SessionSpec spec = testing::spec_of(7, index, 1500);
      spec.prose = true;
      const EvalSession session = testing::make_or_die(task, spec);
      for (const Turn& turn : session.turns) {
        const std::size_t at = session.context.find(turn.gold[0]);
        ASSERT_NE(at, std::string::npos) << name << ": " << turn.gold[0];
        if (turn.gold[0].size() < 4 || session.task == "S5") continue;  // may stand elsewhere too
        EXPECT_NEAR(5.0 * static_cast<double>(at) / static_cast<double>(session.context.size()), turn.depth + 0.5, 0.55)
            << name << ": " << turn.query;
      }
    }
  }
}

TEST(ChatForm, TheTextSaysWhatTheAnswerBeginsWithAndTheAnswer) {
  for (const char* name : {"S1", "S2", "S3", "S4", "S6", "S11", "S12"}) {
    for (std::uint32_t index = 0; index < 4; ++index) {
      SessionSpec spec = testing::spec_of(3, index, 1500);
      spec.prose = true;
      const EvalSession session = in_chat_form(testing::make_or_die(**tasks::find_task(name), spec), chatml());
      for (const Turn& turn : session.turns) {
        ASSERT_FALSE(turn.lead.empty()) << name;
        const std::string said =
            turn.lead.substr(turn.lead.find(". ") == turn.lead.npos ? 0 : turn.lead.find(". ") + 2);
        EXPECT_NE(session.context.find(said + turn.answer), std::string::npos) << name << ": " << said + turn.answer;
        EXPECT_EQ(score_answer(turn, turn.answer), 1) << name;
      }
    }
  }
}

TEST(ChatForm, OptionsOfAChoiceBeginDifferently) {
  SessionSpec spec = testing::spec_of(5, 0, 1500);
  spec.prose = true;
  const EvalSession session = in_chat_form(testing::make_or_die(**tasks::find_task("S7"), spec), chatml());
  for (const Turn& turn : session.turns) {
    ASSERT_EQ(turn.candidates.size(), 4u);
    std::string begins;
    for (const std::string& option : turn.candidates) {
      EXPECT_EQ(option[0], ' ');
      EXPECT_EQ(begins.find(option[1]), std::string::npos) << turn.query;
      begins += option[1];
    }
    EXPECT_EQ(turn.candidates[static_cast<std::size_t>(std::ranges::find(turn.candidates, turn.gold[0]) -
                                                       turn.candidates.begin())],
              turn.answer);
    EXPECT_EQ(turn.query.find("letter"), std::string::npos);
    EXPECT_EQ(turn.query.find(turn.gold[0]), std::string::npos);
  }
}

TEST(ChatForm, ARuleComesFirst) {
  SessionSpec spec = testing::spec_of(5, 0, 1500);
  spec.prose = spec.rule = true;
  const EvalSession session = in_chat_form(testing::make_or_die(**tasks::find_task("S1"), spec), chatml());
  for (const Turn& turn : session.turns) {
    EXPECT_EQ(turn.lead, "");
    EXPECT_EQ(score_answer(turn, turn.answer), 1) << turn.answer;
  }
}

}  // namespace
}  // namespace cairn

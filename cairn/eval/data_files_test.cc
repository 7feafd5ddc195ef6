// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/data_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cairn/eval/session_tokens.h"
#include "cairn/testing/tokenizer_data.h"

namespace cairn::eval {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// Nearly a token per byte, so that lengths are easy to say.
const Tokenizer& bytes_tokenizer() {
  static const auto tokenizer = cairn::testing::must_make(cairn::testing::bpe_data());
  return *tokenizer;
}

Result<DataSessions> parse(const std::string& text,
                           DataLimits limits = {.context_tokens = 4096, .sessions = 9, .turns = 9},
                           const std::string& path = "folder/little set.json") {
  return parse_data(path, text, bytes_tokenizer(), limits);
}

std::string squad(const std::string& context, const std::string& qas) {
  return R"({"data": [{"paragraphs": [{"context": ")" + context + R"(", "qas": [)" + qas + "]}]}]}";
}

TEST(DataFiles, SquadAsksAtTheDepthOfItsAnswer) {
  const auto data =
      parse(squad("0123456789", R"({"question": "Q?", "answers": [{"text": "8", "answer_start": 8}, {"text": "eight"}]},
                                                 {"question": "none", "answers": []})"));
  ASSERT_TRUE(data.has_value()) << data.error().message;
  EXPECT_EQ(data->name, "little_set");
  EXPECT_EQ(data->note, "");
  ASSERT_EQ(data->sessions.size(), 1u);
  const EvalSession& session = data->sessions.front();
  EXPECT_EQ(session.context, "0123456789\n\n");
  EXPECT_EQ(session.task, "little_set");
  ASSERT_EQ(session.turns.size(), 1u);  // one question has no answer
  EXPECT_EQ(session.turns[0].query, "Question: Q?\nAnswer:");
  EXPECT_EQ(session.turns[0].answer, " 8\n");
  EXPECT_THAT(session.turns[0].gold, ElementsAre("8", "eight"));
  EXPECT_EQ(session.turns[0].metric, Metric::kContains);
  EXPECT_EQ(session.turns[0].depth, 4u);
}

TEST(DataFiles, OneQuestionEachMayLeadIntoItsAnswer) {
  const std::string lines =
      R"({"context": "c", "question": "Question: Q?\nAnswer: It is", "answer": "7", "kind": "needle", "tokens": 3})"
      "\n"
      R"({"context": "d", "question": "Where?", "answer": "here"})";
  const auto data = parse(lines);
  ASSERT_TRUE(data.has_value()) << data.error().message;
  ASSERT_EQ(data->sessions.size(), 2u);
  const Turn& led = data->sessions[0].turns.at(0);
  EXPECT_EQ(led.query, "Question: Q?\nAnswer: It is");
  EXPECT_EQ(led.answer, " 7\n");
  EXPECT_EQ(led.column, "needle");
  EXPECT_EQ(led.depth, kUnknownDepth);
  EXPECT_EQ(led.metric, Metric::kWholeWord);
  EXPECT_EQ(data->sessions[1].turns.at(0).query, "Question: Where?\nAnswer:");

  const auto chat = parse(lines, {.context_tokens = 4096,
                                  .sessions = 9,
                                  .turns = 9,
                                  .chat = std::make_shared<const ChatForm>(ChatFamily::kChatML)});
  ASSERT_TRUE(chat.has_value()) << chat.error().message;
  EXPECT_EQ(chat->sessions[0].turns.at(0).query, "Q?");
  EXPECT_EQ(chat->sessions[0].turns.at(0).lead, "It is");
  EXPECT_NE(chat->sessions[0].chat, nullptr);
}

TEST(DataFiles, ScbenchHasChoicesAndSummaries) {
  const std::string many = "a b c d e f g h i j k l m n o p";
  const std::string line =
      R"({"context": "c", "multi_turns": [{"input": "pick", "answer": "red", "options": ["blue", "red"]},)"
      R"({"input": "sum up", "answer": ")" +
      many + R"("}, {"input": "number", "answer": [7, "seven"]}]})";
  const auto data = parse("\n" + line + "\r\n\n");
  ASSERT_TRUE(data.has_value()) << data.error().message;
  const std::vector<Turn>& turns = data->sessions.front().turns;
  ASSERT_EQ(turns.size(), 3u);
  EXPECT_EQ(turns[0].metric, Metric::kChoice);
  EXPECT_EQ(turns[0].query, "Question: pick\nA. blue\nB. red\nAnswer:");
  EXPECT_THAT(turns[0].gold, ElementsAre(" B"));
  EXPECT_THAT(turns[0].candidates, ElementsAre(" A", " B"));
  EXPECT_EQ(turns[1].metric, Metric::kRougeL);
  EXPECT_THAT(turns[2].gold, ElementsAre("7", "seven"));
  EXPECT_EQ(turns[2].depth, kUnknownDepth);
}

TEST(DataFiles, APasskeyIsCutUntilItFits) {
  std::string input;
  for (int i = 0; i < 50; ++i) input += i == 25 ? "The pass key is 4821.\\n" : "Grass is green here.\\n";
  const auto data =
      parse(R"({"input": ")" + input + R"(", "target": "4821"})", {.context_tokens = 400, .sessions = 1, .turns = 1});
  ASSERT_TRUE(data.has_value()) << data.error().message;
  const EvalSession& session = data->sessions.front();
  EXPECT_LE(session_tokens(bytes_tokenizer(), session).value(), 400u);
  EXPECT_GE(session_tokens(bytes_tokenizer(), session).value(), 330u);
  EXPECT_THAT(session.context, HasSubstr("The pass key is 4821."));
  EXPECT_EQ(session.turns[0].metric, Metric::kFirstNumber);
  EXPECT_EQ(session.turns[0].depth, 2u);  // as in the middle before
  EXPECT_THAT(data->note, HasSubstr("1 haystacks cut"));
}

TEST(DataFiles, SessionsAreSpreadOverTheFileAndCutToTheirTurns) {
  std::string text;
  for (int i = 0; i < 10; ++i) {
    text += R"({"context": "number )" + std::to_string(i) +
            R"(", "multi_turns": [{"input": "a", "answer": "1"}, {"input": "b", "answer": "2"}]})"
            "\n";
  }
  const auto data = parse(text, {.context_tokens = 4096, .sessions = 2, .turns = 1});
  ASSERT_TRUE(data.has_value());
  ASSERT_EQ(data->sessions.size(), 2u);
  EXPECT_EQ(data->sessions[0].context, "number 0\n\n");
  EXPECT_EQ(data->sessions[1].context, "number 5\n\n");
  EXPECT_EQ(data->sessions[1].index, 1u);
  EXPECT_EQ(data->sessions[1].turns.size(), 1u);
}

TEST(DataFiles, SaysWhatIsWrongAndWhere) {
  const auto message = [](const std::string& text) {
    const auto data = parse(text);
    return data.has_value() ? "" : data.error().message;
  };
  EXPECT_THAT(message(""), HasSubstr("holds no session"));
  EXPECT_THAT(message("\nhello\n"), HasSubstr("line 2 is no JSON"));
  EXPECT_THAT(message("{\"a\": 1}\n"), HasSubstr("line 1 has none of the known forms"));
  const std::pair<const char*, const char*> cases[] = {
      {R"({"data": 5})", "data is no list; known are"},
      {R"({"data": [{"paragraphs": [{"qas": []}]}]})", "data[0].paragraphs[0].context is missing"},
      {R"({"data": [{"paragraphs": [{"context": "c", "qas": [{"question": 5, "answers": [{"text": "a"}]}]}]}]})",
       "data[0].paragraphs[0].qas[0].question is no text"},
      {R"({"data": [{"paragraphs": [{"context": "c", "qas": [{"question": "q", "answers": [{}]}]}]}]})",
       "qas[0].answers[0].text is missing"},
      {R"({"data": [{"paragraphs": [{"context": "c", "qas": [{"question": "q", "answers":)"
       R"( [{"text": "a", "answer_start": "0"}]}]}]}]})",
       "qas[0].answers[0].answer_start is no number"},
      {R"({"input": 1, "target": "2"})", "line 2: input is no text"},
      {R"({"input": "1", "target": {}})", "line 2: target is neither a text nor a number"},
      {R"({"context": "c", "multi_turns": {"a": 1}})", "line 2: multi_turns is no list"},
      {R"({"context": "c", "multi_turns": [7]})", "line 2: multi_turns[0] is no object"},
      {R"({"context": "c", "multi_turns": [{"input": "a"}]})", "line 2: multi_turns[0].answer is missing"},
      {R"({"context": "c", "multi_turns": [{"answer": "a"}]})", "line 2: multi_turns[0].input is missing"},
      {R"({"context": "c", "multi_turns": [{"input": "a", "answer": "b", "options": "b"}]})",
       "line 2: multi_turns[0].options is no list"},
      {R"({"context": "c", "multi_turns": [{"input": "a", "answer": "b", "options": [1]}]})",
       "line 2: multi_turns[0].options holds what is no text"},
      {R"({"context": 1, "question": "q", "answer": "a"})", "line 2: context is no text"},
      {R"({"context": "c", "question": "q"})", "line 2: answer is missing"},
      {R"({"context": "c", "question": "q", "answer": "a", "kind": 3})", "line 2: kind is no text"},
  };
  for (const auto& [line, words] : cases) {
    const bool document = std::string_view(line).starts_with(R"({"data")");
    const std::string text = (document ? ""
                                       : R"({"input": "x 2", "target": "2"})"
                                         "\n") +
                             std::string(line);
    EXPECT_THAT(message(text), HasSubstr(words)) << line;
    EXPECT_THAT(message(text), Not(HasSubstr("exception"))) << line;
  }
  const auto long_one = parse(squad(std::string(500, 'x'), R"({"question": "Q?", "answers": [{"text": "8"}]})"),
                              {.context_tokens = 100, .sessions = 1, .turns = 1});
  ASSERT_FALSE(long_one.has_value());
  EXPECT_EQ(long_one.error().code, ErrorCode::kTooLong);
  const auto taken = parse(squad("c", R"({"question": "Q?", "answers": [{"text": "8"}]})"),
                           {.context_tokens = 999, .sessions = 1, .turns = 1}, "S1.json");
  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error().code, ErrorCode::kInvalidArgument);
}

TEST(CutHaystack, KeepsTheFirstLineTheNeedleAndItsRelativeDepth) {
  std::string text = "head\n";
  for (int i = 0; i < 40; ++i) text += i == 30 ? "needle\n" : "straw " + std::to_string(i) + "\n";
  const auto shorter_than = [](std::size_t size) { return [size](const std::string& t) { return t.size() <= size; }; };
  const CutHaystack all = cut_haystack(text, "needle", shorter_than(text.size()));
  EXPECT_EQ(all.text, text);
  EXPECT_FALSE(all.cut);
  const CutHaystack half = cut_haystack(text, "needle", shorter_than(text.size() / 2));
  EXPECT_TRUE(half.cut);
  EXPECT_TRUE(half.text.starts_with("head\n"));
  EXPECT_GT(half.text.size(), text.size() * 2 / 5);
  EXPECT_NEAR(half.depth, all.depth, 0.08);
  EXPECT_EQ(half.text.substr(static_cast<std::size_t>(half.depth * static_cast<double>(half.text.size()) + 0.5), 6),
            "needle");
  EXPECT_EQ(cut_haystack(text, "needle", shorter_than(12)).text, "head\nneedle\n");
  EXPECT_EQ(cut_haystack(text, "needle", shorter_than(11)).text, "");
  EXPECT_EQ(cut_haystack(text, "no such", shorter_than(999)).text, "");
}

}  // namespace
}  // namespace cairn::eval

// SPDX-License-Identifier: Apache-2.0
// Sessions on a tiny random model: forks and batches give what one sequence at a time gives.
#include "cairn/eval/session_run.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

std::unique_ptr<Engine> tiny(std::uint32_t context = 512) {
  return load_tiny(TinyModel{.context = context}.builder().build(),
                   {.threads = 1, .kv_budget_bytes = 64 << 20, .reuse = false})
      .value();
}

std::unique_ptr<JudgedEngine> judge(const Engine& engine, const char* recipe) {
  return JudgedEngine::make(engine, *parse_recipe(recipe), {.kv_budget_bytes = 32 << 20}).value();
}

EvalSession session() {
  EvalSession session{
      .task = "test", .index = 0, .context_tokens = 512, .instruction = "t5t6", .context = "", .turns = {}};
  for (int i = 0; i < 100; ++i) session.context += "t" + std::to_string(10 + i % 30);
  for (int i = 0; i < 3; ++i) {
    Turn turn{.query = "t" + std::to_string(20 + i) + "t7",
              .answer = "t9t8",
              .gold = {"t9t8"},
              .candidates = {},
              .metric = Metric::kExact,
              .begins_with = "",
              .column = "",
              .depth = 0,
              .max_tokens = 6};
    session.turns.push_back(turn);
  }
  session.turns[2].metric = Metric::kChoice;
  session.turns[2].candidates = {"t9t11", "t9t8"};
  return session;
}

std::vector<TokenId> encode(const Engine& engine, const std::string& text) {
  return engine.tokenizer().encode(text, {.add_bos = false, .continues_text = true});
}

// One sequence from nothing, one token at a time.
std::string greedy(JudgedEngine& judged, std::vector<TokenId> prompt, std::size_t tokens) {
  Sequence sequence = judged.open();
  std::span<const float> logits = judged.extend(sequence, prompt).value();
  std::vector<TokenId> answer;
  while (answer.size() < tokens) {
    answer.push_back(static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin()));
    if (judged.engine().tokenizer().is_end_of_generation(answer.back())) {
      answer.pop_back();
      break;
    }
    logits = judged.extend(sequence, std::span(answer).last(1)).value();
  }
  return judged.engine().tokenizer().decode(answer, {.continues_text = true});
}

TEST(SessionRun, AnswersAreThoseOfOneSequenceAtATime) {
  const auto engine = tiny();
  for (const char* recipe : {"raw_f16", "raw_f16+value-bits=2", "raw_f16+drop=0.3"}) {
    const auto judged = judge(*engine, recipe);
    const EvalSession asked = session();
    const SessionOutcome outcome = run_session(*judged, asked).value();
    ASSERT_EQ(outcome.turns.size(), 6u);
    const std::vector<TokenId> context = engine->tokenizer().encode(asked.instruction + asked.context);
    std::vector<TokenId> story = context;
    for (std::size_t t = 0; t < 2; ++t) {
      const auto query = encode(*engine, asked.turns[t].query);
      std::vector<TokenId> request = context;
      request.insert(request.end(), query.begin(), query.end());
      story.insert(story.end(), query.begin(), query.end());
      EXPECT_EQ(outcome.turns[t].mode, Mode::kMultiTurn);
      EXPECT_EQ(outcome.turns[t].answer, greedy(*judged, story, 6)) << recipe;
      EXPECT_EQ(outcome.turns[3 + t].mode, Mode::kMultiRequest);
      EXPECT_EQ(outcome.turns[3 + t].answer, greedy(*judged, request, 6)) << recipe;
      const auto gold = encode(*engine, asked.turns[t].answer);  // the gold answer goes on, not the model's
      story.insert(story.end(), gold.begin(), gold.end());
    }
  }
}

TEST(SessionRun, AChoiceIsMadeByTheLogitsWhereTheOptionsDiffer) {
  const auto engine = tiny();
  const auto judged = judge(*engine, "raw_f16");
  const EvalSession asked = session();
  const SessionOutcome outcome = run_session(*judged, asked).value();
  std::vector<TokenId> prompt = engine->tokenizer().encode(asked.instruction + asked.context);
  const auto query = encode(*engine, asked.turns[2].query + "t9");
  prompt.insert(prompt.end(), query.begin(), query.end());
  Sequence sequence = judged->open();
  const auto logits = judged->extend(sequence, prompt).value();
  const auto first = static_cast<std::size_t>(encode(*engine, "t11").front());
  const auto second = static_cast<std::size_t>(encode(*engine, "t8").front());
  EXPECT_EQ(outcome.turns[5].answer, asked.turns[2].candidates[logits[second] > logits[first] ? 1 : 0]);
}

TEST(SessionRun, WithoutContextNothingOfItIsSeen) {
  const auto engine = tiny();
  const auto judged = judge(*engine, "raw_f16");
  EvalSession one = session(), other = session();
  std::reverse(other.context.begin(), other.context.end());
  const auto a = run_session(*judged, one, {.with_context = false}).value();
  const auto b = run_session(*judged, other, {.with_context = false}).value();
  for (std::size_t i = 0; i < a.turns.size(); ++i) EXPECT_EQ(a.turns[i].answer, b.turns[i].answer);
}

TEST(SessionRun, EvictionSparesWhatIsPinned) {
  const auto engine = tiny();
  const auto judged = judge(*engine, "raw_f16+evict=1");
  Sequence sequence = judged->open();
  ASSERT_TRUE(judged->extend(sequence, std::vector<TokenId>(100, 5)));
  ASSERT_TRUE(judged->finish_context(sequence, 7));
  std::size_t seen = 0;
  for (const PageView& page : sequence.pages(0)) {
    for (std::uint32_t t = 0; t < page.count; ++t) seen += page.positions[t] != kHiddenPosition;
  }
  EXPECT_EQ(seen, 7u);
  EXPECT_EQ(sequence.pages(0).front().positions[6], 6);
}

TEST(SessionRun, SaysWhatAPolicyKeptAndRead) {
  const auto engine = tiny(1024);
  EvalSession asked = session();
  for (int i = 0; i < 200; ++i) asked.context += "t" + std::to_string(10 + i % 30);
  const auto run = [&](const char* recipe) {
    const auto outcome = run_session(*judge(*engine, recipe), asked);
    EXPECT_TRUE(outcome) << outcome.error().message;
    return outcome ? *outcome : SessionOutcome{};
  };
  const SessionOutcome exact = run("raw_f16"), full = run("raw_f16+policy=full"),
                       half = run("raw_f16+policy=knorm/keep=0.5");
  const SessionOutcome reads = run("raw_f16+policy=recent/keep=0.5");
  EXPECT_EQ(exact.cost.kept, 1);
  EXPECT_EQ(exact.read_fraction, 1);
  EXPECT_EQ(full.cost.bytes_held, exact.cost.bytes_held);
  EXPECT_NEAR(half.cost.kept, 0.5, 0.02);
  EXPECT_LT(half.cost.bytes_held, 0.75 * exact.cost.bytes_held);
  EXPECT_DOUBLE_EQ(half.cost.bytes_held / half.cost.bytes_per_token,
                   exact.cost.bytes_held / exact.cost.bytes_per_token);
  EXPECT_EQ(half.read_fraction, 1);
  EXPECT_EQ(reads.cost.bytes_held, exact.cost.bytes_held);
  EXPECT_GT(reads.read_fraction, 0.3);
  EXPECT_LT(reads.read_fraction, 0.7);
  std::uint64_t most = 0;  // each answer's first token comes from its prompt
  for (const TurnOutcome& turn : exact.turns) most += turn.answer_tokens;
  EXPECT_GT(exact.decode.tokens, 0u);
  EXPECT_LE(exact.decode.tokens, most);
  EXPECT_GT(exact.decode.seconds, 0);
}

TEST(SessionRun, RecipesOfOneCacheFindWhatOthersComputed) {
  const auto engine = tiny(1024);
  const auto judged =
      JudgedEngine::make(*engine, *parse_recipe("raw_f16"), {.kv_budget_bytes = 32 << 20}, true).value();
  std::vector<TokenId> prompt;
  for (int i = 0; i < 300; ++i) prompt.push_back(5 + i * i % 30);
  const auto found = [&](const char* recipe) {
    EXPECT_TRUE(judged->switch_to(*parse_recipe(recipe)).value()) << recipe;
    return judged->open(prompt).size();
  };
  Sequence first = judged->open(prompt);
  EXPECT_EQ(first.size(), 0u);
  ASSERT_TRUE(judged->extend(first, prompt));
  EXPECT_EQ(found("raw_f16+policy=quest"), 256u);
  EXPECT_EQ(found("raw_f16+policy=keydiff"), 256u);
  EXPECT_EQ(found("raw_f16+policy=snapkv"), 192u);  // its probes are the last 64 queries
  EXPECT_EQ(found("raw_f16+policy=h2o"), 0u);       // and here all of them
  for (const char* other : {"tok4", "raw_f16+evict=0.5", "raw_f16+shift=1+policy=quest"}) {
    EXPECT_FALSE(judged->switch_to(*parse_recipe(other)).value()) << other;
  }
  EXPECT_EQ(judged->recipe().text, "raw_f16+policy=h2o");
}

TEST(SessionRun, RefusesWhatDoesNotFitOrHasNoOptions) {
  const auto engine = tiny();
  const auto judged = judge(*engine, "raw_f16");
  EvalSession long_one = session();
  for (int i = 0; i < 3; ++i) long_one.context += long_one.context;
  EXPECT_EQ(run_session(*judged, long_one).error().code, ErrorCode::kTooLong);
  EvalSession no_options = session();
  no_options.turns[2].candidates.clear();
  EXPECT_EQ(run_session(*judged, no_options).error().code, ErrorCode::kInvalidArgument);
  const std::atomic<bool> cancel{true};
  EXPECT_EQ(run_session(*judged, session(), {.cancel = &cancel}).error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace cairn

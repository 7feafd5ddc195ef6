// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/workload.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

namespace cairn::load {
namespace {

TEST(MadeText, SeedsDecide) {
  EXPECT_EQ(made_words({1, "a"}, 50), made_words({1, "a"}, 50));
  EXPECT_NE(made_words({1, "a"}, 50), made_words({1, "b"}, 50));
  EXPECT_EQ(count_words(made_words({1, "a"}, 50)), 50u);
  EXPECT_TRUE(made_words({1, "a"}, 50).starts_with(made_words({1, "a"}, 20)));
}

TEST(MadeText, FirstWordsAreAPrefixOfThatMany) {
  EXPECT_TRUE(rc::check([] {
    const auto text = *rc::gen::container<std::string>(rc::gen::elementOf(std::string("ab \n\t")));
    const std::size_t words = *rc::gen::inRange<std::size_t>(0, 12);
    const std::string first = first_words(text, words);
    RC_ASSERT(text.starts_with(first));
    RC_ASSERT(count_words(first) == std::min(words, count_words(text)));
  }));
}

// A tokenizer of three letters a token.
Result<std::size_t> threes(const std::string& text) {
  return text.size() / 3;
}

TEST(MadeText, IsSizedByTheTokenizerWhateverTheGuess) {
  EXPECT_TRUE(rc::check([] {
    const std::size_t tokens = *rc::gen::inRange<std::size_t>(200, 20000);
    const double guess = *rc::gen::inRange(1, 100) / 10.0;
    const TextOfWords text = [](std::size_t words) { return made_words({1, "x"}, words); };
    const SizedText sized = *sized_text(text, 1 << 20, tokens, guess, threes);
    RC_ASSERT(sized.tokens == *threes(sized.text));
    RC_ASSERT(sized.tokens + tokens / 100 + 4 >= tokens && sized.tokens <= tokens + tokens / 100 + 4);
  }));
}

TEST(MadeText, WithoutATokenizerTheGuessCounts) {
  const TextOfWords text = [](std::size_t words) { return made_words({1, "x"}, words); };
  EXPECT_EQ(sized_text(text, 1000, 100, 2, {})->words, 50u);
}

TEST(MadeText, ShortSourcesAreTakenWhole) {
  const TextOfWords text = [](std::size_t words) { return first_words("one two three", words); };
  const SizedText sized = *sized_text(text, 3, 1000, 1, threes);
  EXPECT_EQ(sized.text, "one two three");
  EXPECT_EQ(sized.tokens, 4u);
}

TEST(MadeText, ErrorsOfTheTokenizerArePassedOn) {
  const TextOfWords text = [](std::size_t words) { return made_words({1, "x"}, words); };
  const TokenCounter broken = [](const std::string&) -> Result<std::size_t> { return fail(ErrorCode::kIo, "gone"); };
  EXPECT_EQ(sized_text(text, 1000, 100, 1, broken).error().message, "gone");
}

Workload make(WorkloadOptions options, std::shared_ptr<const Trace> trace = nullptr) {
  return *Workload::make(std::move(options), 1, {}, std::move(trace));
}

std::string text_of(const ConversationSpec& conversation, std::size_t turn = 0) {
  return conversation.turns[turn].text();
}

std::size_t common_prefix(const std::string& a, const std::string& b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

TEST(Workload, ADocumentIsSharedAndQuestionsAreNot) {
  const Workload workload = make({.clients = 3, .max_tokens = 7, .document_tokens = 500, .warm = true});
  const RoundSpec plan = workload.round("salt");
  ASSERT_EQ(plan.conversations.size(), 3u);
  ASSERT_EQ(plan.warm_up.size(), 1u);
  EXPECT_EQ(plan.conversations[1].turns[0].max_tokens, 7u);
  const std::string one = text_of(plan.conversations[0]), two = text_of(plan.conversations[1]);
  EXPECT_NE(one, two);
  EXPECT_GT(common_prefix(one, two), 2000u);
  EXPECT_GT(common_prefix(one, plan.warm_up[0].text()), 2000u);
  EXPECT_LT(common_prefix(one, text_of(workload.round("other").conversations[0])), 4u);
}

TEST(Workload, SeparateDocumentsShareTheSaltAlone) {
  const RoundSpec plan = make({.kind = WorkloadKind::kSeparate, .clients = 3, .document_tokens = 500}).round("salt");
  EXPECT_LT(common_prefix(text_of(plan.conversations[0]), text_of(plan.conversations[1])), 12u);
}

TEST(Workload, AGivenDocumentIsCutOnlyWhenAskedTo) {
  const std::string document = "one two three four five six";
  const auto prompt = [&](bool cut) {
    return text_of(
        make({.document = document, .document_tokens = 4, .cut_document = cut}).round("salt").conversations[0]);
  };
  EXPECT_NE(prompt(false).find(document), std::string::npos);
  EXPECT_NE(prompt(true).find("one two three four\n"), std::string::npos);
  EXPECT_FALSE(Workload::make({.document = " \n"}, 1, {}, nullptr));
}

TEST(Workload, ChatsHaveTurnsAndMayShareASystemMessage) {
  const RoundSpec plan =
      make({.kind = WorkloadKind::kChat, .clients = 2, .turns = 3, .turn_tokens = 5, .system_tokens = 100})
          .round("salt");
  EXPECT_EQ(plan.requests(), 6u);
  EXPECT_EQ(plan.conversations[0].system, plan.conversations[1].system);
  EXPECT_NE(text_of(plan.conversations[0], 1), text_of(plan.conversations[1], 1));
  EXPECT_EQ(count_words(text_of(plan.conversations[0], 1)), 5u);
}

TEST(Workload, TheLongPromptComesLastAndWaits) {
  const RoundSpec plan =
      make({.kind = WorkloadKind::kInterference, .clients = 2, .long_tokens = 300, .lead_tokens = 9}).round("salt");
  ASSERT_EQ(plan.conversations.size(), 3u);
  EXPECT_EQ(plan.lead_pieces, 9u);
  EXPECT_TRUE(plan.conversations[2].long_prompt);
  EXPECT_GT(count_words(text_of(plan.conversations[2])), 300u);
}

std::shared_ptr<const Trace> trace_of(const std::vector<std::vector<std::uint32_t>>& prompts) {
  auto trace = std::make_shared<Trace>();
  trace->block_tokens = 10;
  for (std::uint32_t number = 0; number < 20; ++number) {
    const Digest key = Hasher("test").u64(number).finish();
    trace->blocks.push_back({.item = {.key = key, .parent = {}, .bytes = 0, .depth = 0, .tenant = 0}, .tokens = 10});
  }
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    trace->requests.push_back({.input = prompts[i],
                               .output = {},
                               .input_tokens = prompts[i].size() * 10 + 3,
                               .arrival_s = 100 + static_cast<double>(i),
                               .output_tokens = 20});
  }
  return trace;
}

TEST(Workload, EqualBlocksOfATraceAreEqualText) {
  EXPECT_TRUE(rc::check([] {
    const auto block = rc::gen::inRange<std::uint32_t>(0, 4);
    const auto prompt = rc::gen::container<std::vector<std::uint32_t>>(block);
    const std::vector<std::vector<std::uint32_t>> prompts = {*prompt, *prompt};
    const double scale = *rc::gen::elementOf(std::vector<double>{0.1, 0.5, 1, 2});
    const RoundSpec plan = make({.kind = WorkloadKind::kTrace, .scale = scale}, trace_of(prompts)).round("salt");
    const auto words = static_cast<std::size_t>(10 * scale);
    const auto shared =
        static_cast<std::size_t>(std::ranges::mismatch(prompts[0], prompts[1]).in1 - prompts[0].begin());
    const std::string one = text_of(plan.conversations[0]), two = text_of(plan.conversations[1]);
    RC_ASSERT(first_words(one, shared * words) == first_words(two, shared * words));
    RC_ASSERT(count_words(one) >= prompts[0].size() * words);
    if (shared < prompts[0].size() && shared < prompts[1].size() && words > 4) {
      RC_ASSERT(first_words(one, (shared + 1) * words) != first_words(two, (shared + 1) * words));
    }
  }));
}

TEST(Workload, TracesKeepTheirTimesAndLengths) {
  const auto trace = trace_of({{1}, {2}, {3}});
  const RoundSpec plan =
      make({.kind = WorkloadKind::kTrace, .speed = 2, .scale = 0.5, .limit = 2}, trace).round("salt");
  ASSERT_EQ(plan.conversations.size(), 2u);
  EXPECT_EQ(plan.conversations[0].due_s, 0);
  EXPECT_EQ(plan.conversations[1].due_s, 0.5);
  EXPECT_EQ(plan.conversations[1].turns[0].max_tokens, 10u);
  EXPECT_EQ(count_words(text_of(plan.conversations[1])), 5u + 2u);
}

TEST(Workload, AbsurdTracesAreBounded) {
  Trace trace = *trace_of({{1}, {2}});
  trace.requests[0].arrival_s = 1e300;
  trace.requests[0].output_tokens = UINT64_MAX;
  const RoundSpec plan =
      make({.kind = WorkloadKind::kTrace, .speed = 1e-6}, std::make_shared<const Trace>(trace)).round("s");
  EXPECT_EQ(plan.conversations[0].client, 1u);
  EXPECT_LT(plan.conversations[1].due_s, 2e9);
  EXPECT_LT(plan.conversations[1].turns[0].max_tokens, std::size_t{1} << 31);
}

}  // namespace
}  // namespace cairn::load

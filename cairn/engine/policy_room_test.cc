// SPDX-License-Identifier: Apache-2.0
// Retentions that find no room for some of their layers, and are tried again when there is some.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cairn/engine/engine.h"
#include "cairn/engine/replay.h"
#include "cairn/testing/sequence_pages.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

constexpr std::size_t kAmple = std::size_t{64} << 20, kPrompt = 640;

std::unique_ptr<Engine> make_engine(const std::string& codec, const std::string& policy, std::size_t budget) {
  auto engine = load_tiny(
      long_context_model(),
      {.threads = 2, .kv_budget_bytes = budget, .context = 2048, .codec = codec, .policy = policy, .reuse = false});
  EXPECT_TRUE(engine) << (engine ? "" : engine.error().message);
  return *std::move(engine);
}

void compute(Engine& engine, Sequence& sequence, std::span<const TokenId> tokens, std::size_t rows_at_once = 256) {
  for (std::size_t done = 0; done < tokens.size();) {
    const std::size_t count = sequence.rows_until_retention(std::min(tokens.size() - done, rows_at_once));
    const ForwardRows rows[] = {{&sequence, tokens.subspan(done, count)}};
    ASSERT_TRUE(engine.forward(rows));
    done += count;
  }
}

std::vector<float> decoded(Engine& engine, Sequence& sequence) {
  std::vector<float> all;
  for (const TokenId id : random_prompt(3, 4)) {
    const auto logits = engine.decode(sequence, id);
    EXPECT_TRUE(logits) << (logits ? "" : logits.error().message);
    if (logits) all.insert(all.end(), logits->begin(), logits->end());
  }
  return all;
}

struct Case {
  std::string codec, policy;
};

class HalfDone : public ::testing::TestWithParam<Case> {};

// A fork holds the old pages, so that packing frees none, and another sequence takes more or less of the rest: the end
// of the prompt fails at the first layer, or at a later one, or not at all. What was packed by then and what is packed
// later follow one plan, and what was seen for it is not computed again.
TEST_P(HalfDone, TheRestFollowsThePlan) {
  const auto& [codec, policy] = GetParam();
  const std::vector<TokenId> prompt = random_prompt(1, kPrompt);
  const auto ample = make_engine(codec, policy, kAmple);
  Sequence free = ample->open(prompt);
  compute(*ample, free, prompt);
  ASSERT_TRUE(ample->finish_prompt(free));
  const testing::SequencePages ample_pages(ample->cache().options());
  const std::uint64_t expected = ample_pages.seen(free).content;
  const std::vector<float> logits = decoded(*ample, free);

  const std::size_t budget = ample->cache().bytes_for(3 * kPrompt, 256);
  std::size_t halves = 0, of_forks = 0;
  for (std::size_t in_the_way = 640; in_the_way <= 1280; in_the_way += kBlockTokens) {
    SCOPED_TRACE(in_the_way);
    const auto engine = make_engine(codec, policy, budget);
    Sequence sequence = engine->open(prompt);
    compute(*engine, sequence, prompt);
    ASSERT_TRUE(replay_prompt(*engine, sequence));
    Sequence holds = sequence.fork(), others = engine->open({}, {}, std::nullopt);
    compute(*engine, others, random_prompt(2, in_the_way), kBlockTokens);
    const Status ended = engine->finish_prompt(sequence);
    std::optional<Sequence> fork;
    if (!ended) {
      EXPECT_EQ(ended.error().code, ErrorCode::kOutOfBudget);
      halves += sequence.policy_report().bytes_freed > 0 ? 1 : 0;
      fork.emplace(sequence.fork());
      EXPECT_FALSE(engine->finish_prompt(sequence)) << "there is no room still";
      ASSERT_TRUE(others.trim(0));
      ASSERT_TRUE(engine->finish_prompt(sequence));
    } else {
      ASSERT_TRUE(others.trim(0));
    }
    const testing::SequencePages pages(engine->cache().options());
    EXPECT_EQ(pages.seen(sequence).content, expected);
    EXPECT_EQ(decoded(*engine, sequence), logits);
    if (!fork) continue;
    ++of_forks;
    sequence = engine->open({}, {}, std::nullopt);
    ASSERT_TRUE(engine->finish_prompt(*fork));
    EXPECT_EQ(pages.seen(*fork).content, expected);
  }
  EXPECT_GT(halves, 0u);
  EXPECT_GE(of_forks, halves);
}

INSTANTIATE_TEST_SUITE_P(Policies, HalfDone,
                         ::testing::Values(Case{"raw_f16", "tova+keep=0.5+budget=entropy"},
                                           Case{"tok4", "prefixkv+keep=0.5"}, Case{"raw_f16", "kvzip+keep=0.5"},
                                           Case{"raw_f16", "pyramidkv+keep=0.5"}));

// Parts of a replay at the end of the context may be small, but each costs a pass over all before it.
TEST(PolicyRoom, AReplayNeedsRoomInTheContext) {
  const std::vector<TokenId> prompt = random_prompt(1, 1000);
  for (const std::size_t context : {std::size_t{1100}, 1100 + replay_room(1000)}) {
    auto engine = load_tiny(long_context_model(), {.threads = 2,
                                                   .kv_budget_bytes = kAmple,
                                                   .context = static_cast<std::uint32_t>(context),
                                                   .policy = "kvzip+keep=0.5"});
    ASSERT_TRUE(engine);
    Sequence sequence = (*engine)->open(prompt);
    const auto logits = (*engine)->prefill(sequence, prompt);
    EXPECT_EQ(logits.has_value(), context > 1100);
    if (logits) continue;
    EXPECT_EQ(logits.error().code, ErrorCode::kTooLong);
    EXPECT_NE(logits.error().message.find("--ctx"), std::string::npos) << logits.error().message;
  }
}

// Of no prompt there is nothing to keep, and something may be planned all the same.
TEST(PolicyRoom, ASequenceWithoutAPromptIsPlanned) {
  for (const char* policy : {"keydiff+keep=0.5", "keydiff+keep=0.5+chunk=128", "h2o+keep=0.5", "quest"}) {
    const auto engine = make_engine("raw_f16", policy, kAmple);
    const PlannedBytes planned = engine->planned_bytes(&*engine->policy(), 0, 0, 200);
    EXPECT_GE(std::max(planned.whole, planned.packed), engine->cache().bytes_for(64)) << policy;
  }
}

// What is half done is cut away, or some of it: a plan of tokens that are gone is made anew.
TEST(PolicyRoom, ACutForgetsAPlanThatIsNoLongerTrue) {
  const std::string policy = "keydiff+keep=0.5";
  const std::vector<TokenId> prompt = random_prompt(1, kPrompt), other = random_prompt(4, kPrompt);
  const auto ample = make_engine("raw_f16", policy, kAmple);
  for (const std::size_t kept : {0u, 300u}) {
    std::vector<TokenId> changed(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(kept));
    changed.insert(changed.end(), other.begin() + static_cast<std::ptrdiff_t>(kept), other.end());
    Sequence free = ample->open(changed);
    compute(*ample, free, changed);
    ASSERT_TRUE(ample->finish_prompt(free));
    const auto engine = make_engine("raw_f16", policy, ample->cache().bytes_for(2 * kPrompt, 256));
    Sequence sequence = engine->open(prompt), others = engine->open({}, {}, std::nullopt);
    compute(*engine, sequence, prompt);
    compute(*engine, others, random_prompt(2, kPrompt));
    ASSERT_FALSE(engine->finish_prompt(sequence));  // no layer is packed
    ASSERT_TRUE(others.trim(0));
    ASSERT_TRUE(sequence.trim(kept));
    compute(*engine, sequence, std::span(changed).subspan(kept));
    ASSERT_TRUE(engine->finish_prompt(sequence));
    EXPECT_EQ(testing::SequencePages(engine->cache().options()).seen(sequence).content,
              testing::SequencePages(ample->cache().options()).seen(free).content)
        << kept;
  }
}

// The last chunk of a prompt ends with it: there is one retention, not one of what another has left.
TEST(PolicyRoom, APlaceIsPlannedOnce) {
  const std::vector<TokenId> prompt = random_prompt(1, kPrompt);
  for (const char* policy : {"tova+keep=0.3+budget=entropy+chunk=128", "prefixkv+keep=0.3+chunk=320"}) {
    const auto engine = make_engine("raw_f16", policy, kAmple);
    Sequence sequence = engine->open(prompt);
    compute(*engine, sequence, prompt);
    const testing::SequencePages pages(engine->cache().options());
    const std::uint64_t before = pages.seen(sequence).bytes;
    ASSERT_TRUE(engine->finish_prompt(sequence));
    EXPECT_EQ(pages.seen(sequence).bytes, before) << policy;
  }
}

}  // namespace
}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Whatever company a request has, however it is preempted, cancelled beside, loaded or shared: its answer is that of a
// single user, byte for byte.
#include "cairn/serve/loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "cairn/store/ram_tier.h"
#include "cairn/testing/loop_case.h"

namespace cairn {
namespace {

class Loop : public LoopCase {};

TEST_P(Loop, ManyAtOnceGetWhatEachWouldGetAlone) {
  const auto served = loop();
  const std::vector<TokenId> document = random_prompt(99, 320);
  std::vector<GenerateRequest> requests;
  for (std::uint64_t i = 0; i < 10; ++i) {
    std::vector<TokenId> prompt = i % 2 == 0 ? document : std::vector<TokenId>();
    const auto question = random_prompt(i, 5 + 37 * i);
    prompt.insert(prompt.end(), question.begin(), question.end());
    requests.push_back(request(prompt, 20 + i, i % 3 == 0 ? 0.0f : 0.9f, i));
  }
  std::vector<std::shared_ptr<Generation>> running;
  for (const GenerateRequest& each : requests) running.push_back(*served->submit(each));
  std::size_t cached = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const Answer answer = collect(*running[i]);
    EXPECT_EQ(answer.result.reason, FinishReason::kLength);
    EXPECT_EQ(answer.ids, alone(requests[i])) << i;
    EXPECT_EQ(answer.result.usage.prompt_tokens, requests[i].prompt.size());
    EXPECT_EQ(answer.result.usage.completion_tokens, requests[i].max_tokens);
    cached += answer.result.usage.cached_tokens;
  }
  EXPECT_EQ(cached, 4 * 320u) << "the document is computed once";
}

TEST_P(Loop, PreemptedAnswersGoOnWithTheSameBits) {
  expect_same_bits_when_preempted({});
}

TEST_P(Loop, CancelledRequestsLeaveTheOthersAlone) {
  const auto served = loop();
  const GenerateRequest kept = request(random_prompt(1, 150), 60);
  std::vector<std::shared_ptr<Generation>> cancelled;
  for (std::uint64_t i = 0; i < 6; ++i) cancelled.push_back(*served->submit(request(random_prompt(2 + i, 700), 1000)));
  const auto running = *served->submit(kept);
  for (std::size_t i = 0; i < cancelled.size(); ++i) {
    GeneratedPiece piece;
    if (i % 2 == 0) (void)cancelled[i]->next(piece, deadline_in(kLong));  // some before they start, some in the middle
    cancelled[i]->cancel();
  }
  EXPECT_EQ(collect(*running).ids, alone(kept));
  for (const auto& each : cancelled) EXPECT_EQ(collect(*each).result.reason, FinishReason::kCancelled);
  EXPECT_EQ(served->state().cancelled, cancelled.size());
}

TEST_P(Loop, TheStateNamesTheCodecAsItWasAskedFor) {
  const std::string codec = loop()->state().codec;
  if (GetParam().find('+') == std::string::npos) {
    EXPECT_EQ(codec, GetParam());
  } else {
    EXPECT_TRUE(codec.ends_with(" sinks=1")) << codec;
  }
}

TEST_P(Loop, AStoreGivesTheNextServerItsPrefixes) {
  const GenerateRequest asked = request(random_prompt(5, 700), 8);
  StoreOptions options;
  options.tiers.push_back(*RamTier::create({.budget_bytes = std::size_t{64} << 20}));
  store_ = std::make_shared<Store>(std::move(options));
  const std::vector<TokenId> expected = alone(asked);
  for (const std::size_t stored : {0u, 640u}) {
    const auto served = loop();
    const Answer answer = collect(**served->submit(asked));
    EXPECT_EQ(answer.ids, expected);
    EXPECT_EQ(answer.result.usage.stored_tokens, stored);
    EXPECT_EQ(answer.result.usage.cached_tokens, stored);
    served->drain(deadline_in(kLong));
  }
}

// Blocks that a store brings are copies until the pass that reads them ends, which no projection knows.
TEST_P(Loop, AStoreAndLittleRoomKeepNobodyWaitingForEver) {
  StoreOptions store;
  store.tiers.push_back(*RamTier::create({.budget_bytes = std::size_t{64} << 20}));
  store_ = std::make_shared<Store>(std::move(store));
  const std::vector<TokenId> b = random_prompt(802, 487), c = random_prompt(803, 499);
  {
    const auto first = loop();
    for (const auto& prompt : {b, c}) (void)collect(**first->submit(request(prompt, 1)));
    first->drain(deadline_in(kLong));
  }
  LoopOptions options;
  options.kv_budget_bytes = (*load_tiny(model_, engine_options(GetParam())))->cache().bytes_for(11 * kBlockTokens - 20);
  for (int run = 0; run < 6; ++run) {
    const auto served = loop(options);
    (void)collect(**served->submit(request(c, 5)));
    std::vector<GenerateRequest> asked = {request(random_prompt(900, 37), 200), request(b, 1), request(b, 5),
                                          request(c, 5), request(b, 60)};
    std::vector<std::shared_ptr<Generation>> running;
    for (const GenerateRequest& each : asked) running.push_back(*served->submit(each));
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const Answer answer = collect(*running[i]);
      EXPECT_EQ(answer.result.reason, FinishReason::kLength) << answer.result.error;
      EXPECT_EQ(answer.ids, alone(asked[i]));
      EXPECT_LE(answer.result.usage.stored_tokens, answer.result.usage.prompt_tokens);
    }
    EXPECT_LT(served->state().preempted, 20u);
  }
}

// Keys that nothing could have hashed come out again: neither submitting nor opening hashes what is known, and an
// answer's keys are what the next answer to its prompt needs.
TEST_P(Loop, APromptIsHashedOnceHoweverManyAnswersItGets) {
  const auto served = loop();
  GenerateRequest asked = request(random_prompt(6, 200), 4);
  const std::vector<TokenId> expected = alone(asked);
  for (std::uint8_t block = 1; block <= 3; ++block) asked.keys.emplace_back().bytes[0] = block;
  const std::vector<Digest> made_up = asked.keys;
  for (const std::size_t cached : {0u, 192u}) {
    const auto running = *served->submit(asked);
    EXPECT_EQ(running->request().keys, made_up);
    const Answer answer = collect(*running);
    EXPECT_EQ(answer.ids, expected);
    EXPECT_EQ(answer.result.usage.cached_tokens, cached);
    asked.keys = running->request().keys;
  }
  std::vector<Digest> held;
  for (const HeldBlock& block : served->held_blocks("", 100)) held.push_back(block.key);
  EXPECT_EQ(held, made_up);

  asked.keys.clear();  // the backend's own
  const auto running = *served->submit(asked);
  EXPECT_EQ(running->request().keys.size(), 3u);
  EXPECT_EQ(collect(*running).result.usage.cached_tokens, 0u);
}

TEST_P(Loop, TenantsFindNothingOfEachOther) {
  LoopOptions options;
  options.tenants = {{"alice", {}}, {"bob", {}}};
  const auto served = loop(options);
  GenerateRequest asked = request(random_prompt(7, 400), 4);
  const std::vector<TokenId> expected = alone(asked);
  for (const auto& [tenant, cached] :
       std::vector<std::pair<std::string, std::size_t>>{{"alice", 0}, {"bob", 0}, {"alice", 384}, {"bob", 384}}) {
    asked.tenant = tenant;
    const Answer answer = collect(**served->submit(asked));
    EXPECT_EQ(answer.ids, expected);
    EXPECT_EQ(answer.result.usage.cached_tokens, cached) << tenant;
  }
  asked.tenant = "mallory";
  EXPECT_EQ(served->submit(asked).error().code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(served->held_blocks("alice", 100).empty());
  // Alice fills her cache many times over; Bob's prefix stays.
  for (std::uint64_t i = 0; i < 8; ++i) {
    asked = request(random_prompt(100 + i, 1900), 4);
    asked.tenant = "alice";
    (void)collect(**served->submit(asked));
  }
  asked = request(random_prompt(7, 400), 4);
  asked.tenant = "bob";
  EXPECT_EQ(collect(**served->submit(asked)).result.usage.cached_tokens, 384u);
}

TEST_P(Loop, PublicPrefixesAreThereForEverybodyAndForGood) {
  LoopOptions options;
  options.tenants = {{"alice", {}}, {"bob", {}}};
  options.public_prefixes = {random_prompt(7, 400), random_prompt(8, 70)};
  const auto served = loop(options);
  GenerateRequest asked = request(random_prompt(7, 400), 4);
  const std::vector<TokenId> expected = alone(asked);
  const auto ask_both = [&] {
    for (const char* tenant : {"alice", "bob"}) {
      asked.tenant = tenant;
      const Answer answer = collect(**served->submit(asked));
      EXPECT_EQ(answer.ids, expected);
      EXPECT_EQ(answer.result.usage.cached_tokens, 384u) << tenant;
    }
  };
  ask_both();
  for (std::uint64_t i = 0; i < 8; ++i) {
    GenerateRequest other = request(random_prompt(100 + i, 1900), 4);
    other.tenant = i % 2 == 0 ? "alice" : "bob";
    (void)collect(**served->submit(other));
  }
  ask_both();
  options.engine = engine_options(GetParam());
  options.kv_budget_bytes = (*load_tiny(model_, options.engine))->cache().bytes_for(2000);
  options.public_prefixes = {random_prompt(7, 1984)};
  const auto refused = ServeLoop::create(*load_tiny(model_, engine_options(GetParam())), options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kOutOfBudget);
}

// Whatever is admitted is answered, however little is left: nearly nothing, with and without a prefix that is held.
TEST_P(Loop, WhatJustFitsIsAnsweredAndWhatDoesNotIsRefused) {
  const std::vector<TokenId> document = random_prompt(7, 256);
  for (const bool is_public : {false, true}) {
    LoopOptions options;
    if (is_public) options.public_prefixes = {document};
    const auto engine = *load_tiny(model_, engine_options(GetParam()));
    options.kv_budget_bytes = engine->cache().bytes_for(519);
    const bool fits_576 = engine->cache().bytes_for(576) <= options.kv_budget_bytes;
    const std::size_t most = fits_576 ? 576 : 575;  // encoding the last block takes more than an open tail
    const auto served = loop(options);
    std::vector<std::pair<GenerateRequest, std::shared_ptr<Generation>>> admitted;
    for (const std::size_t rest : {1u, 64u, 128u, 191u, 192u, 193u, 255u, 256u, 257u, 314u, 318u, 319u, 320u}) {
      for (const std::size_t answer : {1u, 6u}) {
        std::vector<TokenId> prompt = document;
        const auto question = random_prompt(rest, rest);
        prompt.insert(prompt.end(), question.begin(), question.end());
        const GenerateRequest asked = request(prompt, answer);
        const auto submitted = served->submit(asked);
        ASSERT_EQ(submitted.has_value(), prompt.size() + answer <= most) << rest;
        if (!submitted) {
          EXPECT_EQ(submitted.error().code, ErrorCode::kOutOfBudget);
          continue;
        }
        admitted.emplace_back(asked, *submitted);
      }
    }
    for (const auto& [asked, generation] : admitted) {
      const Answer answer = collect(*generation);
      EXPECT_EQ(answer.result.reason, FinishReason::kLength) << answer.result.error;
      EXPECT_EQ(answer.ids, alone(asked));
      EXPECT_GE(answer.result.usage.cached_tokens, is_public ? 256u : 0u);
    }
    EXPECT_LE(served->state().tenants[0].cache.high_water, options.kv_budget_bytes);
  }
}

TEST_P(Loop, AnswersWithoutALimitEndWhereTheBudgetDoes) {
  LoopOptions options;
  options.public_prefixes = {random_prompt(7, 256)};
  options.kv_budget_bytes = (*load_tiny(model_, engine_options(GetParam())))->cache().bytes_for(519);
  const auto served = loop(options);
  const GenerateRequest asked = request(random_prompt(7, 300), 0);
  const Answer answer = collect(**served->submit(asked));
  EXPECT_EQ(answer.result.reason, FinishReason::kLength) << answer.result.error;
  EXPECT_GE(answer.ids.size(), 275u);  // up to a block border, where encoding takes more than an open tail
}

TEST_P(Loop, RefusesWhatItCannotDo) {
  LoopOptions options;
  options.kv_budget_bytes = std::size_t{1} << 20;
  options.tenants = {{"", {.max_waiting = 2}}};
  options.max_running = 1;
  const auto served = loop(options);
  EXPECT_EQ(served->submit(request({}, 1)).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(served->submit(request({-1}, 1)).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(served->submit(request({1000000}, 1)).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(served->submit(request({5}, 1, -1)).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(served->submit(request(random_prompt(1, 2048), 1)).error().code, ErrorCode::kTooLong);
  std::vector<std::shared_ptr<Generation>> running;
  for (std::uint64_t i = 0;; ++i) {
    auto submitted = served->submit(request(random_prompt(i, 64), 400));
    if (!submitted) {
      EXPECT_EQ(submitted.error().code, ErrorCode::kBusy);
      break;
    }
    running.push_back(*submitted);
    ASSERT_LT(i, 10u);
  }
  served->drain(deadline_in(std::chrono::milliseconds(1)));
  EXPECT_EQ(served->submit(request({5}, 1)).error().code, ErrorCode::kBusy);
  for (const auto& each : running) (void)collect(*each);
}

TEST_P(Loop, StopStringsAndLogprobs) {
  const auto served = loop();
  GenerateRequest asked = request(random_prompt(3, 40), 30);
  asked.logprobs = 3;
  const auto all = *served->submit(asked);
  std::string text;
  GeneratedPiece piece;
  while (all->next(piece, deadline_in(kLong)) == Generation::Event::kPiece) {
    text += piece.text;
    if (!piece.has_token) continue;
    ASSERT_EQ(piece.top_logprobs.size(), 3u);
    EXPECT_EQ(piece.top_logprobs[0].id, piece.id) << "greedy";
    EXPECT_EQ(piece.top_logprobs[0].logprob, piece.logprob->logprob);
    EXPECT_LE(piece.logprob->logprob, 0);
    EXPECT_GE(piece.top_logprobs[0].logprob, piece.top_logprobs[1].logprob);
  }
  ASSERT_GT(text.size(), 12u);
  asked.stop = {text.substr(8, 3)};
  const std::size_t end = text.find(asked.stop[0]);
  const Answer stopped = collect(**served->submit(asked));
  EXPECT_EQ(stopped.text, text.substr(0, end));
  EXPECT_EQ(stopped.result.reason, FinishReason::kStop);
}

INSTANTIATE_TEST_SUITE_P(Codecs, Loop, ::testing::Values("raw_f16", "tok4", "zip", "tok4+sinks=1"), loop_case_name);

}  // namespace
}  // namespace cairn

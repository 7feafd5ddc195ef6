// SPDX-License-Identifier: Apache-2.0
// Token policies of a server and of single requests: a request gets what an engine with its policy gives a single user,
// also beside other requests and after it was preempted.
#include <gtest/gtest.h>

#include "cairn/serve/loop.h"
#include "cairn/testing/loop_case.h"

namespace cairn {
namespace {

// A policy acts where the prompt ends, and h2o at block borders after it, also when an answer is computed again.
class LoopWithPolicy : public LoopCase {};

TEST_P(LoopWithPolicy, PreemptedAnswersGoOnWithTheSameBits) {
  expect_same_bits_when_preempted({});
}

INSTANTIATE_TEST_SUITE_P(Policies, LoopWithPolicy,
                         ::testing::Values("raw_f16 keydiff+keep=0.5", "tok4 quest", "raw_f16 h2o+keep=0.5",
                                           "raw_f16 snapkv+keep=0.5+chunk=64", "raw_f16 keydiff+keep=0.5+chunk=64",
                                           "tok4 kvzip+keep=0.5"),
                         loop_case_name);

// Servers without a policy, and with ones that requests switch off or replace.
class RequestPolicy : public LoopCase {
 protected:
  static bool has_own() { return GetParam().find(' ') != std::string::npos; }
};

TEST_P(RequestPolicy, EachRequestFollowsItsOwn) {
  const auto served = loop();
  const std::vector<std::string> policies = {"full",         "quest+keep=0.1", "keydiff+keep=0.5",      "snapkv",
                                             "h2o+keep=0.5", "kvzip+keep=0.5", "streamingllm+chunk=128"};
  std::vector<GenerateRequest> requests = {request(random_prompt(5, 400), 70)};  // the server's own
  for (const std::string& policy : policies) requests.push_back(with_policy(requests[0], policy));
  std::vector<std::shared_ptr<Generation>> running;
  for (const GenerateRequest& each : requests) running.push_back(*served->submit(each));
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::string policy = i > 0       ? policies[i - 1]
                               : has_own() ? GetParam().substr(GetParam().find(' ') + 1)
                                           : "full";
    SCOPED_TRACE(policy);
    const Answer answer = collect(*running[i]);
    EXPECT_EQ(answer.result.reason, FinishReason::kLength) << answer.result.error;
    EXPECT_EQ(answer.ids, alone(requests[i]));
    const PolicyFigures& figures = answer.result.usage.policy;
    EXPECT_EQ(figures.policy, policy == "full" ? "" : parse_policy(policy)->text);
    const bool reads = policy.starts_with("quest"), keeps = policy != "full" && !reads;
    EXPECT_EQ(figures.read < 1, reads);
    EXPECT_EQ(figures.kept < 1, keeps);
    EXPECT_EQ(figures.bytes_freed > 0, keeps);
  }
}

TEST_P(RequestPolicy, PrefixesAreReusedAsFarAsTheRequestsOwnAllows) {
  const auto served = loop();
  const GenerateRequest plain = request(random_prompt(6, 400), 2);
  (void)collect(**served->submit(with_policy(plain, "full")));
  for (const auto& [policy, cached] :
       std::vector<std::pair<std::string, std::size_t>>{{"full", 384},
                                                        {"quest", 384},
                                                        {"keydiff", 384},
                                                        {"snapkv", 320},
                                                        {"h2o", 0},
                                                        {"keydiff+chunk=128", 64},
                                                        {"keydiff+chunk=128", 384},
                                                        {"keydiff+keep=0.5+chunk=128", 64}}) {
    const GenerateRequest asked = with_policy(plain, policy);
    const Answer answer = collect(**served->submit(asked));
    EXPECT_EQ(answer.result.usage.cached_tokens, cached) << policy;
    EXPECT_EQ(answer.ids, alone(asked)) << policy;
  }
}

TEST_P(RequestPolicy, PreemptedAnswersGoOnWithTheSameBits) {
  expect_same_bits_when_preempted({"full", "keydiff+keep=0.5", "quest+keep=0.1", "h2o+keep=0.5"});
}

// They are exact, and stay, whatever a server's own policy would make of them.
TEST_P(RequestPolicy, PublicPrefixesAreForEveryPolicy) {
  LoopOptions options;
  options.public_prefixes = {random_prompt(7, 400)};
  options.kv_budget_bytes = (*load_tiny(model_, engine_options(GetParam())))->cache().bytes_for(2000);
  const auto served = loop(options);
  const GenerateRequest asked = with_policy(request(random_prompt(7, 400), 4), "full");
  for (std::uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(collect(**served->submit(asked)).result.usage.cached_tokens, 384u) << i;
    (void)collect(**served->submit(request(random_prompt(100 + i, 1300), 4)));
  }
}

// The budget holds less than half of a prompt: with chunks it is never there as a whole. Three such requests and
// shorter ones beside them get the bits that each gets alone, and no prompt ends in an error.
TEST_P(RequestPolicy, LongPromptsThatFitOnlyInChunksAreAdmitted) {
  LoopOptions options;
  const auto engine = *load_tiny(model_, engine_options(GetParam()));
  const PolicySpec chunked = *parse_policy("keydiff+keep=0.1+chunk=128");
  const PlannedBytes planned = engine->planned_bytes(&chunked, 1900, 0, 1940);
  options.kv_budget_bytes = std::max(planned.whole, planned.packed);
  ASSERT_LT(options.kv_budget_bytes, engine->cache().bytes_for(900));
  const auto served = loop(options);
  const GenerateRequest prompt = request(random_prompt(1, 1900), 40);
  for (const char* policy : {"full", "keydiff+keep=0.1", "quest"}) {
    const auto refused = served->submit(with_policy(prompt, policy));
    ASSERT_FALSE(refused) << policy;
    EXPECT_EQ(refused.error().code, ErrorCode::kOutOfBudget);
  }
  std::vector<GenerateRequest> requests;
  for (std::uint64_t i = 0; i < 3; ++i) {
    requests.push_back(with_policy(request(random_prompt(10 + i, 1900), 40), chunked.text));
    requests.push_back(with_policy(request(random_prompt(20 + i, 150), 60), "full"));
    requests.push_back(with_policy(request(random_prompt(30 + i, 200), 60), "snapkv+keep=0.5"));
  }
  std::vector<std::shared_ptr<Generation>> running;
  for (const GenerateRequest& each : requests) running.push_back(*served->submit(each));
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const Answer answer = collect(*running[i]);
    EXPECT_EQ(answer.result.reason, FinishReason::kLength) << answer.result.error;
    EXPECT_EQ(answer.ids, alone(requests[i])) << i;
  }
  EXPECT_LE(served->state().tenants[0].cache.high_water, options.kv_budget_bytes);
}

INSTANTIATE_TEST_SUITE_P(Servers, RequestPolicy,
                         ::testing::Values("raw_f16", "tok4", "raw_f16 h2o+keep=0.5", "tok4 quest+keep=0.2"),
                         loop_case_name);

// A prompt that fits, but not a part of it again.
TEST_P(RequestPolicy, APromptWhoseReplayTheContextHasNoRoomForIsRefused) {
  const auto served = loop();
  const std::size_t context = served->context();
  const GenerateRequest longest = request(random_prompt(8, context - 100), 10);
  const auto refused = served->submit(with_policy(longest, "kvzip"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kTooLong);
  EXPECT_NE(refused.error().message.find("reads the prompt again"), std::string::npos) << refused.error().message;
  EXPECT_TRUE(served->submit(with_policy(longest, "kvzip+keep=1")));
}

class PolicyOfZip : public LoopCase {};

TEST_P(PolicyOfZip, WhatTheCodecCannotFollowIsRefused) {
  const auto refused = loop()->submit(with_policy(request(random_prompt(1, 100), 2), "quest"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(refused.error().message.find("policy 'quest': codec 'zip'"), std::string::npos) << refused.error().message;
}

INSTANTIATE_TEST_SUITE_P(Codecs, PolicyOfZip, ::testing::Values("zip"), loop_case_name);

}  // namespace
}  // namespace cairn

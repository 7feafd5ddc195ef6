// SPDX-License-Identifier: Apache-2.0
// Test support: a serve loop on a tiny model of a parameter's codec and token policy, and what a single user gets from
// an engine of his own.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cairn/serve/loop.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {

inline constexpr std::chrono::seconds kLong(60);

// Of a codec, or of one and a token policy, as "tok4 quest".
inline EngineOptions engine_options(const std::string& kind) {
  const std::size_t blank = kind.find(' ');
  EngineOptions options;
  options.threads = 2;
  options.codec = kind.substr(0, blank);
  if (blank != kind.npos) options.policy = kind.substr(blank + 1);
  options.kv_budget_bytes = std::size_t{64} << 20;
  return options;
}

struct Answer {
  std::vector<TokenId> ids;
  std::string text;
  GenerationResult result;
};

inline Answer collect(Generation& generation) {
  Answer answer;
  GeneratedPiece piece;
  Generation::Event event;
  while ((event = generation.next(piece, deadline_in(kLong))) == Generation::Event::kPiece) {
    if (piece.has_token) answer.ids.push_back(piece.id);
    answer.text += piece.text;
  }
  EXPECT_EQ(event, Generation::Event::kFinished);
  if (event == Generation::Event::kFinished) answer.result = generation.result();
  return answer;
}

class LoopCase : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<ServeLoop> loop(LoopOptions options = {}) const {
    options.engine = engine_options(GetParam());
    options.engine.store = store_;
    auto made = ServeLoop::create(*load_tiny(model_, engine_options(GetParam())), std::move(options));
    EXPECT_TRUE(made) << (made ? "" : made.error().message);
    return *std::move(made);
  }
  static GenerateRequest request(std::vector<TokenId> prompt, std::size_t tokens, float temperature = 0,
                                 std::uint64_t seed = 0) {
    GenerateRequest request{.prompt = std::move(prompt), .max_tokens = tokens, .ignore_eos = true};
    request.sampler.temperature = temperature;
    request.sampler.seed = seed;
    return request;
  }
  // What one user gets from a fresh engine, token by token.
  std::vector<TokenId> alone(const GenerateRequest& request) const {
    const auto engine = *load_tiny(model_, engine_options(GetParam()));
    Sampler sampler = *Sampler::make(request.sampler);
    for (const TokenId id : request.prompt) sampler.accept(id);
    Sequence sequence = engine->open(request.prompt, {}, request.own_policy ? request.policy : engine->policy());
    auto logits = engine->prefill(sequence, request.prompt);
    std::vector<TokenId> ids;
    while (logits && ids.size() < request.max_tokens) {
      ids.push_back(*sampler.sample(*logits));
      sampler.accept(ids.back());
      logits = engine->decode(sequence, ids.back());
    }
    return ids;
  }
  // The same request under a policy of its own; "full": under none.
  static GenerateRequest with_policy(GenerateRequest request, const std::string& policy) {
    request.own_policy = true;
    if (policy != "full") request.policy = *parse_policy(policy);
    return request;
  }
  // More than fit at once, so that some make room and go on later. `policies` are the requests' own, in turns; empty:
  // they ask for none.
  void expect_same_bits_when_preempted(const std::vector<std::string>& policies) {
    LoopOptions options;
    const auto engine = load_tiny(model_, engine_options(GetParam()));
    options.kv_budget_bytes = (*engine)->cache().bytes_for(1100);
    const auto served = loop(options);
    std::vector<GenerateRequest> requests;
    std::vector<std::shared_ptr<Generation>> running;
    for (std::uint64_t i = 0; i < 4; ++i) {
      requests.push_back(request(random_prompt(20 + i, 100), 500, 0.8f, i));
      if (!policies.empty()) requests[i] = with_policy(requests[i], policies[i % policies.size()]);
      running.push_back(*served->submit(requests.back()));
    }
    std::size_t preempted = 0;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const Answer answer = collect(*running[i]);
      EXPECT_EQ(answer.result.reason, FinishReason::kLength) << answer.result.error;
      EXPECT_EQ(answer.ids, alone(requests[i])) << i;
      preempted += answer.result.usage.preempted;
    }
    EXPECT_GT(preempted, 0u);
    const LoopState state = served->state();
    EXPECT_EQ(state.preempted, preempted);
    EXPECT_LE(state.tenants[0].cache.high_water, options.kv_budget_bytes);
  }
  std::vector<std::byte> model_ = long_context_model();
  std::shared_ptr<Store> store_;
};

inline std::string loop_case_name(const ::testing::TestParamInfo<std::string>& codec) {
  std::string name = codec.param;
  std::ranges::replace_if(
      name, [](char letter) { return std::isalnum(letter) == 0; }, '_');
  return name;
}

}  // namespace cairn

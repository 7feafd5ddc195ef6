// SPDX-License-Identifier: Apache-2.0
// A sequence that was found gets a policy, is cut down to what was found, and gets another one.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cairn/engine/engine.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

std::unique_ptr<Engine> make_engine() {
  return *load_tiny(long_context_model(), {.threads = 2, .kv_budget_bytes = std::size_t{64} << 20});
}

std::vector<float> answer(Engine& engine, Sequence& sequence, std::span<const TokenId> prompt) {
  std::vector<float> all;
  auto logits = engine.prefill(sequence, prompt.subspan(sequence.size()));
  for (const TokenId id : random_prompt(3, 140)) {
    EXPECT_TRUE(logits) << (logits ? "" : logits.error().message);
    if (!logits) break;
    all.insert(all.end(), logits->begin(), logits->end());
    logits = engine.decode(sequence, id);
  }
  return all;
}

TEST(PolicyChange, AnotherPolicyKnowsNothingOfTheFirst) {
  const std::vector<TokenId> prompt = random_prompt(1, 640), other = random_prompt(2, 300);
  for (const auto& [first, second] :
       std::vector<std::pair<std::string, std::string>>{{"quest+keep=0.2", "keydiff+keep=0.5"},
                                                        {"sketch+keep=0.2", "quest+keep=0.2"},
                                                        {"quest+keep=0.2", "keydiff+keep=0.5+every=64"},
                                                        {"decode-evict+every=256", "streamingllm+keep=0.3"},
                                                        {"decode-evict+every=256", "decode-evict+every=64"}}) {
    SCOPED_TRACE(first + ", " + second);
    const auto engine = make_engine();
    {
      Sequence publishes = engine->open(prompt);
      ASSERT_TRUE(engine->prefill(publishes, prompt));
    }
    Sequence fresh = engine->open(prompt, {}, parse_policy(second).value());
    ASSERT_EQ(fresh.size(), 576u);
    const std::vector<float> expected = answer(*engine, fresh, prompt);

    Sequence sequence = engine->open(prompt, {}, parse_policy(first).value());
    std::vector<TokenId> changed(prompt.begin(), prompt.begin() + 576);
    changed.insert(changed.end(), other.begin(), other.end());
    (void)answer(*engine, sequence, changed);
    EXPECT_FALSE(sequence.set_policy(parse_policy(second).value())) << "tokens were computed";
    ASSERT_TRUE(sequence.trim(576));
    ASSERT_TRUE(sequence.set_policy(parse_policy(second).value()));
    EXPECT_EQ(sequence.policy_report().policy, parse_policy(second)->text);
    EXPECT_EQ(sequence.policy_report().boxes_offered, 0u);
    EXPECT_EQ(sequence.policy_report().box_bytes, 0u);
    EXPECT_EQ(sequence.prompt_tokens(), 0u);
    EXPECT_EQ(answer(*engine, sequence, prompt), expected);
  }
}

// Boxes follow from the keys of the prefix, so they are there already for the next one that finds it, and go with it.
TEST(PolicyChange, ASecondRequestTakesTheBoxesOfTheFirst) {
  const std::vector<TokenId> prompt = random_prompt(1, 1100);  // 17 blocks
  for (const char* policy :
       {"quest+keep=0.2", "sketch+keep=0.2", "mpcache+keep=0.2", "double-p+keep=0.2", "sparf+keep=0.2+rest=mean"}) {
    SCOPED_TRACE(policy);
    const auto engine = make_engine();
    const auto bytes = [&] { return engine->cache().stats().bytes_used; };
    const auto ask = [&](std::vector<float>& logits, std::size_t& added) {
      Sequence sequence = engine->open(prompt, {}, parse_policy(policy).value());
      logits = answer(*engine, sequence, prompt);
      const std::size_t before = bytes();
      const std::size_t held = sequence.policy_report().box_bytes;
      sequence = engine->open({}, {}, std::nullopt);
      added = before - bytes();  // the open block and the boxes that nobody else holds
      return held;
    };
    {
      Sequence plain = engine->open(prompt, {}, std::nullopt);
      ASSERT_TRUE(engine->prefill(plain, prompt));
    }
    const std::size_t without = bytes();
    std::vector<float> first, second;
    std::size_t of_first = 0, of_second = 0;
    const std::size_t held = ask(first, of_first);
    const std::size_t kept = bytes();
    EXPECT_GT(kept, without) << "what is complete stays beside the blocks";
    EXPECT_EQ(ask(second, of_second), held);
    EXPECT_EQ(second, first);
    EXPECT_EQ(bytes(), kept) << "nothing was made twice";
    EXPECT_EQ(of_second, of_first);
    engine->cache().clear();
    EXPECT_EQ(bytes(), 0u);
  }
}

// A prompt that was found as a whole ends without a token of its own: what was packed then stays as it is.
TEST(PolicyChange, WhatWasPackedKeepsItsPolicy) {
  const std::vector<TokenId> prompt = random_prompt(1, 640);
  const auto engine = make_engine();
  {
    Sequence publishes = engine->open(prompt);
    ASSERT_TRUE(engine->prefill(publishes, prompt));
  }
  Sequence sequence = engine->open(prompt, {}, parse_policy("keydiff+keep=0.5").value());
  ASSERT_TRUE(engine->finish_prompt(sequence));
  ASSERT_EQ(sequence.size(), sequence.reused_tokens());
  EXPECT_FALSE(sequence.set_policy(parse_policy("knorm+keep=0.5").value()));
  ASSERT_TRUE(sequence.trim(0));
  EXPECT_TRUE(sequence.set_policy(parse_policy("knorm+keep=0.5").value()));
}

}  // namespace
}  // namespace cairn

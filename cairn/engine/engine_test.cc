// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

std::unique_ptr<Engine> tiny_engine(EngineOptions options = {}) {
  options.threads = 1;
  return load_tiny(TinyModel{}.builder().build(), options).value();
}

TEST(Engine, AnAbsurdNumberOfThreadsIsRefused) {
  const auto engine = load_tiny(TinyModel{}.builder().build(), {.threads = 100000});
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::kInvalidArgument);
}

TEST(Engine, WhatCanNeverFitIsRefusedBeforeAnythingIsComputed) {
  const auto engine = tiny_engine();
  Sequence sequence = engine->open({});
  EXPECT_EQ(engine->prefill(sequence, {}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(engine->prefill(sequence, std::vector<TokenId>(257, 3)).error().code, ErrorCode::kTooLong);
  EXPECT_EQ(engine->prefill(sequence, std::vector<TokenId>{3, 40}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(sequence.size(), 0u);

  const std::size_t block_bytes = engine->cache().bytes_per_token() * kBlockTokens;
  const auto small = tiny_engine({.kv_budget_bytes = 3 * block_bytes, .context = 4096});
  Sequence other = small->open({});
  EXPECT_EQ(small->prefill(other, std::vector<TokenId>(1000, 3)).error().code, ErrorCode::kOutOfBudget);
  EXPECT_EQ(other.size(), 0u);
  EXPECT_TRUE(small->prefill(other, std::vector<TokenId>(3 * kBlockTokens, 3)));
  EXPECT_EQ(small->decode(other, 3).error().code, ErrorCode::kOutOfBudget);
  EXPECT_EQ(other.size(), 3 * kBlockTokens);
}

TEST(Engine, AMixedPassChecksItsRows) {
  const auto engine = tiny_engine({.context = 64});
  Sequence sequence = engine->open({});
  const std::vector<TokenId> few(3, 3), many(65, 3);
  const ForwardRows nowhere[] = {{&sequence, few, 1, nullptr}};
  EXPECT_EQ(engine->forward(nowhere).error().code, ErrorCode::kInvalidArgument);
  const ForwardRows too_long[] = {{&sequence, many, 0, nullptr}};
  EXPECT_EQ(engine->forward(too_long).error().code, ErrorCode::kTooLong);
  EXPECT_EQ(sequence.size(), 0u);
}

// The weights would take minutes on a large model; a budget that can never work is refused first.
TEST(Engine, ABudgetBelowOneBlockIsRefusedBeforeTheWeightsAreRead) {
  bool loading = false;
  const auto engine =
      load_tiny(TinyModel{}.builder().build(), {.kv_budget_bytes = 1000, .on_load = [&](double) { loading = true; }});
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::kOutOfBudget);
  EXPECT_FALSE(loading);
}

TEST(Engine, CancellingKeepsWholeChunks) {
  const auto engine = tiny_engine({.context = 1024});
  std::atomic<bool> cancel{false};
  Sequence sequence = engine->open({});
  const auto cancelled =
      engine->prefill(sequence, std::vector<TokenId>(1000, 3),
                      {.on_progress = [&](std::size_t, std::size_t) { cancel = true; }, .cancel = &cancel});
  EXPECT_EQ(cancelled.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(sequence.size(), Forward::kMaxRows);
}

// 200 greedy steps after the begin token, beside those of the program that the model was trained with.
TEST(Engine, GreedyIdsOfATrainedModel) {
  const std::string folder = CAIRN_SOURCE_DIR "/../shared/data/stories260K/";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is absent";
  std::ostringstream golden;
  golden << std::ifstream(folder + "golden_t0_200steps.ids.txt").rdbuf();
  std::string text = golden.str();
  std::ranges::replace_if(
      text, [](char c) { return c < '0' || c > '9'; }, ' ');
  std::istringstream numbers(text);
  const std::vector<TokenId> expected{std::istream_iterator<TokenId>(numbers), {}};
  ASSERT_GT(expected.size(), 200u);

  const auto engine = Engine::load(folder + "stories260K.gguf", {.threads = 2});
  ASSERT_TRUE(engine) << engine.error().message;
  Sequence sequence = (*engine)->open({});
  std::vector<TokenId> got = {expected.front()};
  while (got.size() < expected.size()) {
    const auto logits = (*engine)->decode(sequence, got.back());
    ASSERT_TRUE(logits) << logits.error().message;
    got.push_back(static_cast<TokenId>(std::ranges::max_element(*logits) - logits->begin()));
  }
  EXPECT_EQ(got, expected);
}

}  // namespace
}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "cairn/testing/test_folder.h"
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

// Blocks of the one serve the other: weights, tokenizer and shape are the same.
TEST(Engine, AModelInPartsIsTheSameModel) {
  GgufBuilder first = TinyModel{}.builder();
  const auto whole = load_tiny(first.build(), {.threads = 1});
  ASSERT_TRUE(whole) << whole.error().message;

  GgufBuilder second;
  const std::size_t half = first.tensors().size() / 2, all = first.tensors().size();
  for (std::size_t i = half; i < all; ++i) second.tensor(first.tensors()[i]);
  first.tensors().resize(half);
  const TestFolder folder;
  std::string path;
  for (std::uint16_t number = 0; number < 2; ++number) {
    GgufBuilder& part = number == 0 ? first : second;
    part.set("split.no", number).set("split.count", std::uint16_t{2});
    const auto bytes = part.set("split.tensors.count", static_cast<std::int32_t>(all)).build();
    path = folder.path() + "/m-0000" + std::to_string(number + 1) + "-of-00002.gguf";
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  }
  const auto in_parts = Engine::load(path, {.threads = 1});
  ASSERT_TRUE(in_parts) << in_parts.error().message;
  EXPECT_EQ(recipe_text((*in_parts)->recipe()), recipe_text((*whole)->recipe()));
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

// Scattered rows, and rows that were wrong and are computed again in several passes, give the logits of one ordered
// pass.
TEST(Engine, RowsMayComeInAnyOrderAndBeComputedAgain) {
  const auto engine = tiny_engine({.context = 1024});
  const std::size_t vocab = engine->config().vocab, count = 200;
  std::mt19937 random(3);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(3 + random() % 36);
  const auto compute = [&](Sequence& sequence, std::vector<std::size_t> slots, bool wrong) {
    std::vector<TokenId> ids;
    for (const std::size_t slot : slots) ids.push_back(wrong ? 3 + tokens[slot] % 7 : tokens[slot]);
    std::vector<float> logits(ids.size() * vocab);
    const ForwardRows rows{&sequence, ids, static_cast<std::uint32_t>(ids.size()), logits.data(), slots};
    EXPECT_TRUE(engine->forward({&rows, 1}));
    return logits;
  };
  const auto slots_from = [&](std::size_t first, std::size_t number, bool shuffled) {
    std::vector<std::size_t> slots(number);
    std::iota(slots.begin(), slots.end(), first);
    if (shuffled) std::ranges::shuffle(slots, random);
    return slots;
  };
  engine->cache().clear();
  Sequence ordered = engine->open({});
  const std::vector<float> expected = compute(ordered, slots_from(0, count, false), false);
  const auto check = [&](Sequence& sequence, const std::vector<std::size_t>& slots) {
    const std::vector<float> got = compute(sequence, slots, false);
    for (std::size_t i = 0; i < slots.size(); ++i) {
      EXPECT_EQ(std::memcmp(got.data() + i * vocab, expected.data() + slots[i] * vocab, vocab * sizeof(float)), 0)
          << "token " << slots[i];
    }
  };
  Sequence scattered = engine->open({});
  check(scattered, slots_from(0, count, true));
  EXPECT_TRUE(scattered.intact());
  for (const std::size_t first_wrong : {0u, 63u, 64u, 150u}) {
    Sequence sequence = engine->open({});
    if (first_wrong > 0) check(sequence, slots_from(0, first_wrong, true));
    compute(sequence, slots_from(first_wrong, 190 - first_wrong, true), true);
    for (std::size_t at = first_wrong; at < count;) {  // the last pass rewrites and appends
      const std::size_t number = std::min<std::size_t>(count - at, 1 + random() % 80);
      check(sequence, slots_from(at, number, true));
      at += number;
    }
    EXPECT_TRUE(std::ranges::equal(sequence.tokens(), tokens));
    Sequence fork = ordered.fork();
    const auto decoded = [&](Sequence& of) {
      const auto logits = engine->decode(of, 5).value();
      return std::vector<float>(logits.begin(), logits.end());
    };
    EXPECT_EQ(decoded(sequence), decoded(fork));
  }
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

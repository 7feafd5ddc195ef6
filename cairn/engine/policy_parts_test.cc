// SPDX-License-Identifier: Apache-2.0
// Parts of token policies that need more than scores: profiles, groups of layers, ageing, the tokens' texts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "cairn/cache/token_policy.h"
#include "cairn/engine/engine.h"
#include "cairn/policy/budget_profile.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"
#include "cairn/text/punctuation.h"

namespace cairn {
namespace {

using ::testing::HasSubstr;

Result<std::unique_ptr<Engine>> engine_of(const std::string& policy, std::uint32_t layers = 4,
                                          const std::string& arch = "llama") {
  TinyModel tiny;
  tiny.arch = arch;
  tiny.type = TinyModel::kQ8_0;
  tiny.layers = layers;
  tiny.marks = 12;
  tiny.context = 4096;
  return load_tiny(tiny.builder().build(),
                   {.threads = 2, .kv_budget_bytes = std::size_t{64} << 20, .policy = policy, .reuse = false});
}

std::vector<TokenId> some_text(std::size_t size, std::size_t salt = 5) {
  std::vector<TokenId> tokens(size);
  for (std::size_t i = 0; i < size; ++i) tokens[i] = static_cast<TokenId>(3 + (i * i + salt * i) % 37);
  return tokens;
}

// Under the first KV head of a layer.
std::set<std::int32_t> positions(const Sequence& sequence, std::uint32_t layer) {
  std::set<std::int32_t> held;
  for (const PageView& page : sequence.pages(layer)) {
    for (std::uint32_t t = 0; t < page.count; ++t) {
      if (page.positions[t] != kHiddenPosition) held.insert(page.positions[t]);
    }
  }
  return held;
}

Sequence after_prompt(Engine& engine, std::span<const TokenId> prompt) {
  Sequence sequence = engine.open(prompt);
  EXPECT_TRUE(engine.prefill(sequence, prompt.subspan(sequence.size())));
  return sequence;
}

std::string profile_path(const char* name) {
  return (std::filesystem::temp_directory_path() / ("cairn-" + std::to_string(getpid()) + name)).string();
}

TEST(PolicyPartsTest, LayersKeepTheSharesOfAProfile) {
  const std::string path = profile_path("-shares.toml");
  BudgetProfile profile{.keep = 0.25, .shares = {0.4, 0.3, 0.2, 0.1}};
  ASSERT_TRUE(write_budget_profile(path, profile));
  for (const char* policy : {"keydiff", "prefixkv", "tova", "windowkv+unit=1+group=1"}) {
    const auto engine = engine_of(policy + ("+profile=" + path));
    ASSERT_TRUE(engine) << engine.error().message;
    const Sequence sequence = after_prompt(**engine, some_text(1000));
    const auto layers = sequence.policy_report().layers;
    ASSERT_EQ(layers.size(), 4u);
    for (std::size_t l = 0; l < 4; ++l) {
      const double kept = static_cast<double>(layers[l].kept) / static_cast<double>(layers[l].before);
      EXPECT_NEAR(kept, profile.shares[l], 1e-9) << policy;
    }
  }
  std::filesystem::remove(path);
}

TEST(PolicyPartsTest, AProfileOfAnotherModelIsRefused) {
  const std::string path = profile_path("-other.toml");
  ASSERT_TRUE(write_budget_profile(path, {.keep = 0.25, .shares = {0.3, 0.2}}));
  EXPECT_THAT(engine_of("keydiff+profile=" + path).error().message, HasSubstr("is for 2 layers, and this model has 4"));
  EXPECT_TRUE(engine_of("keydiff+profile=" + path, 2));
  ASSERT_TRUE(write_budget_profile(path, {.model = Digest{}, .keep = 0.25, .shares = {0.3, 0.2}}));
  const auto other = engine_of("keydiff+profile=" + path, 2);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(other.error().message, HasSubstr("its profile is for another model"));
  std::filesystem::remove(path);
}

// Layers with a window have no share: of gemma3's six every other one has none.
TEST(PolicyPartsTest, AProfileCountsLayersWithoutAWindow) {
  const std::string path = profile_path("-window.toml");
  ASSERT_TRUE(write_budget_profile(path, {.keep = 0.25, .shares = {0.25, 0.3, 0.2}}));
  EXPECT_TRUE(engine_of("keydiff+profile=" + path, 6, "gemma3"));
  EXPECT_THAT(engine_of("keydiff+profile=" + path, 6).error().message, HasSubstr("this model has 6"));
  std::filesystem::remove(path);
}

TEST(PolicyPartsTest, LayersOfAGroupHoldTheSameTokens) {
  const auto engine = engine_of("windowkv+group=3", 7);
  ASSERT_TRUE(engine) << engine.error().message;
  Sequence sequence = after_prompt(**engine, some_text(1000));
  std::vector<std::set<std::int32_t>> held;
  for (std::uint32_t l = 0; l < 7; ++l) held.push_back(positions(sequence, l));
  for (std::uint32_t l = 0; l < 7; ++l) EXPECT_EQ(held[l], held[l / 3 * 3]) << l;
  EXPECT_NE(held[0], held[3]);
  EXPECT_GT(held[0].size(), held[3].size());
  EXPECT_GT(held[3].size(), held[6].size());
  // And go on doing so, whatever scores.
  const auto running = engine_of("keydiff+group=2+every=64", 4);
  sequence = after_prompt(**running, some_text(700));
  for (const TokenId id : some_text(200, 9)) ASSERT_TRUE((*running)->decode(sequence, id));
  EXPECT_EQ(positions(sequence, 0), positions(sequence, 1));
  EXPECT_EQ(positions(sequence, 2), positions(sequence, 3));
  EXPECT_NE(positions(sequence, 0), positions(sequence, 2));
}

TEST(PolicyPartsTest, PrefixKvKeepsItsSharesWhileItDecodes) {
  const auto engine = engine_of("prefixkv");
  Sequence sequence = after_prompt(**engine, some_text(1000));
  std::vector<std::set<std::int32_t>> left;
  for (std::uint32_t l = 0; l < 4; ++l) left.push_back(positions(sequence, l));
  for (const TokenId id : some_text(344, 9)) ASSERT_TRUE((*engine)->decode(sequence, id));
  for (std::uint32_t l = 0; l < 4; ++l) {
    const std::set<std::int32_t> now = positions(sequence, l);
    EXPECT_NEAR(static_cast<double>(now.size()), static_cast<double>(left[l].size()) * 1.344, 1) << l;
    // What the prompt left stays but for its last tokens; of what came after it the newest.
    auto last = left[l].end();
    std::advance(last, -25);
    EXPECT_TRUE(std::ranges::includes(now, std::set<std::int32_t>(left[l].begin(), last))) << l;
    const auto rest = static_cast<std::int32_t>(now.size() - left[l].size() + 25);
    for (std::int32_t position = 1344 - rest; position < 1344; ++position) EXPECT_TRUE(now.contains(position)) << l;
  }
}

TEST(PolicyPartsTest, PunctuationGoesFirst) {
  const auto plain = engine_of("keydiff"), discounting = engine_of("keydiff+punctuation=0");
  std::vector<TokenId> marks, words;
  for (TokenId id = 0; id < static_cast<TokenId>((*plain)->config().vocab); ++id) {
    (is_punctuation_text((*plain)->tokenizer().token_bytes(id)) ? marks : words).push_back(id);
  }
  ASSERT_EQ(marks.size(), 12u);
  std::vector<TokenId> prompt;
  for (std::size_t i = 0; i < 640; ++i) {
    prompt.push_back(i % 2 == 0 ? marks[i / 2 % marks.size()] : words[i / 2 % words.size()]);
  }
  const auto kept_marks = [&](Engine& engine) {
    const Sequence sequence = after_prompt(engine, prompt);
    const std::set<std::int32_t> held = positions(sequence, 1);
    return std::ranges::count_if(held, [](std::int32_t position) { return position >= 4 && position % 2 == 0; });
  };
  EXPECT_GT(kept_marks(**plain), 0);
  EXPECT_EQ(kept_marks(**discounting), 0);
}

}  // namespace
}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/text_run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <numeric>

#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

constexpr std::uint32_t kContext = 200;  // no multiple of a block

std::unique_ptr<Engine> tiny(unsigned threads) {
  TinyModel model;
  model.head_dim = 16;
  return load_tiny(model.builder().build(), {.threads = threads, .kv_budget_bytes = 64 << 20, .reuse = false}).value();
}

Windows windows_of_random_text(const Engine& engine) {
  std::vector<TokenId> text(3 * kContext + 10);
  std::uint64_t state = 5;
  for (TokenId& token : text) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    token = static_cast<TokenId>((state >> 33) % engine.config().vocab);
  }
  return Windows::make(std::move(text), 1, {.context = kContext}).value();
}

std::vector<std::unique_ptr<JudgedEngine>> judged(const Engine& engine, std::initializer_list<const char*> recipes) {
  std::vector<std::unique_ptr<JudgedEngine>> all;
  for (const char* recipe : recipes) {
    all.push_back(JudgedEngine::make(engine, *parse_recipe(recipe), {.kv_budget_bytes = 16 << 20}).value());
  }
  return all;
}

std::vector<double> mean_kl(unsigned threads, std::initializer_list<const char*> recipes) {
  const auto engine = tiny(threads);
  const Windows windows = windows_of_random_text(*engine);
  const auto exact = judged(*engine, {"raw_f16"});
  const auto others = judged(*engine, recipes);
  const TextRun run = run_text({.engine = exact.front().get()}, others, windows).value();
  std::vector<double> means;
  for (const JudgedText& text : run.recipes) means.push_back(summarise(text.windows, run.exact, 1).kl_mean.value);
  return means;
}

TEST(TextRun, TheExactCacheDivergesByNothing) {
  const auto engine = tiny(2);
  const Windows windows = windows_of_random_text(*engine);
  const auto exact = judged(*engine, {"raw_f16"});
  const auto same = judged(*engine, {"raw_f16", "raw_f16+drop=0"});
  const TextRun run = run_text({.engine = exact.front().get()}, same, windows).value();
  for (const JudgedText& text : run.recipes) {
    const TextSummary summary = summarise(text.windows, run.exact, 1);
    EXPECT_EQ(summary.tokens, 3 * windows.predictions());
    EXPECT_EQ(summary.kl_max.value, 0.0);
    EXPECT_EQ(summary.same_top1.value, 1.0);
    EXPECT_EQ(summary.perplexity_ratio.value, 1.0);
    EXPECT_EQ(summary.perplexity.value, summary.exact_perplexity.value);
  }
}

// Every damage shows, and the more of it the more.
TEST(TextRun, DamageIsReportedInTheOrderOfItsSize) {
  for (const auto& order :
       {std::initializer_list<const char*>{"raw_f16", "raw_f16+value-bits=8", "raw_f16+value-bits=4",
                                           "raw_f16+value-bits=2", "raw_f16+value-bits=1"},
        {"raw_f16", "raw_f16+drop=0.05", "raw_f16+drop=0.2", "raw_f16+drop=0.6", "raw_f16+drop=1"},
        {"raw_f16", "raw_f16+evict=0.1", "raw_f16+evict=0.5", "raw_f16+evict=1"},
        {"raw_f16", "raw_f16+zero-heads=1", "raw_f16+zero-heads=2"},
        {"raw_f16", "raw_f16+shift=1"}}) {
    const std::vector<double> means = mean_kl(1, order);
    EXPECT_EQ(means.front(), 0.0);
    for (std::size_t i = 1; i < means.size(); ++i) EXPECT_GT(means[i], means[i - 1]) << order.begin()[i];
  }
}

TEST(TextRun, ThreadsChangeNothing) {
  const auto recipes = {"raw_f16+value-bits=2+drop=0.3", "raw_bf16"};
  EXPECT_EQ(mean_kl(1, recipes), mean_kl(2, recipes));
}

// The whole chain against plain arithmetic on the engine's own logits, all tokens of a window in one pass.
TEST(TextRun, PerplexityIsThatOfTheLogits) {
  const auto engine = tiny(1);
  const Windows windows = windows_of_random_text(*engine);
  const auto exact = judged(*engine, {"raw_f16"});
  const TextRun run = run_text({}, exact, windows).value();
  double nll = 0;
  std::size_t count = 0;
  const std::size_t vocab = engine->config().vocab;
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const auto tokens = windows.tokens(w);
    std::vector<float> logits(tokens.size() * vocab);
    Sequence sequence = engine->open({});
    const ForwardRows rows[] = {{&sequence, tokens, kContext, logits.data()}};
    ASSERT_TRUE(engine->forward(rows));
    for (std::size_t t = windows.first_logits(); t + 1 < tokens.size(); ++t, ++count) {
      double sum = 0;
      for (std::size_t v = 0; v < vocab; ++v) sum += std::exp(static_cast<double>(logits[t * vocab + v]));
      nll += std::log(sum) - logits[t * vocab + static_cast<std::size_t>(tokens[t + 1])];
    }
  }
  EXPECT_EQ(count, windows.size() * windows.predictions());
  const double expected = std::exp(nll / static_cast<double>(count));
  EXPECT_NEAR(summarise(run.recipes.front().windows, {}, 1).perplexity.value, expected, 1e-6 * expected);
}

TEST(TextRun, AReferenceFileStandsForTheExactEngine) {
  const auto path = (std::filesystem::temp_directory_path() / ("cairn-run-" + std::to_string(::getpid()))).string();
  const auto engine = tiny(1);
  const Windows windows = windows_of_random_text(*engine);
  const auto exact = judged(*engine, {"raw_f16"});
  const auto damaged = judged(*engine, {"raw_f16+shift=2"});
  const Digest subject = windows_digest(exact.front()->engine(), windows);
  const std::uint64_t rows = windows.size() * windows.predictions();
  auto writer = ReferenceWriter::create(path, subject, engine->config().vocab, rows).value();
  const TextRun live = run_text({.engine = exact.front().get(), .save = writer.get()}, damaged, windows).value();
  ASSERT_TRUE(writer->finish());
  const auto reader = ReferenceReader::open(path, subject, engine->config().vocab, rows).value();
  const TextRun replayed = run_text({.file = reader.get()}, damaged, windows).value();
  std::filesystem::remove(path);
  const TextSummary a = summarise(live.recipes.front().windows, live.exact, 1);
  const TextSummary b = summarise(replayed.recipes.front().windows, replayed.exact, 1);
  EXPECT_EQ(a.kl_mean.value, b.kl_mean.value);
  EXPECT_EQ(a.kl_p99.high, b.kl_p99.high);
  EXPECT_EQ(a.exact_perplexity.value, b.exact_perplexity.value);
}

TEST(TextRun, StopsWhenTold) {
  const auto engine = tiny(1);
  const Windows windows = windows_of_random_text(*engine);
  const std::atomic<bool> cancel{true};
  const auto run = run_text({}, judged(*engine, {"raw_f16"}), windows, {.cancel = &cancel});
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().code, ErrorCode::kCancelled);
}

TEST(JudgedEngine, CostsCountPagesAndTails) {
  const auto engine = tiny(1);
  const auto exact = judged(*engine, {"raw_f16"});
  Sequence sequence = exact.front()->open();
  ASSERT_TRUE(exact.front()->extend(sequence, std::vector<TokenId>(65, 3)));
  const CacheCost cost = exact.front()->cost(sequence);
  // 65 tokens take two blocks; a page of 2 heads x 16 channels x 64 tokens x 2 bytes is one page of memory.
  EXPECT_DOUBLE_EQ(cost.bytes_per_token, 2.0 * 2 * 2 * 4096 / 65);
  EXPECT_DOUBLE_EQ(cost.bits_per_value, 16);
  EXPECT_FALSE(JudgedEngine::make(*engine, *parse_recipe("raw_f16+zero-heads=3"), {}));
}

std::vector<TokenId> text(std::size_t tokens) {
  std::vector<TokenId> ids(tokens);
  std::iota(ids.begin(), ids.end(), 100);
  return ids;
}

TEST(Windows, DefaultsAreThoseOfTheUsualTool) {
  const auto windows = Windows::make(text(1100), 1, {.context = 512});
  ASSERT_TRUE(windows);
  EXPECT_EQ(windows->size(), 2u);
  EXPECT_EQ(windows->predictions(), 255u);
  EXPECT_EQ(windows->first_logits(), 256u);
  const auto second = windows->tokens(1);
  EXPECT_EQ(second.size(), 512u);
  EXPECT_EQ(second[0], 1);  // the begin token instead of the text's
  EXPECT_EQ(second[1], 100 + 513);
  EXPECT_EQ(second.back(), 100 + 1023);
}

TEST(Windows, StrideSkipAndLimit) {
  const auto windows = Windows::make(text(100), std::nullopt, {.context = 10, .stride = 5, .skip = 4});
  ASSERT_TRUE(windows);
  EXPECT_EQ(windows->size(), 19u);
  EXPECT_EQ(windows->predictions(), 5u);
  EXPECT_EQ(windows->tokens(18).back(), 199);
  EXPECT_EQ(windows->tokens(1).front(), 105);
  EXPECT_EQ(Windows::make(text(100), 1, {.context = 10, .max_windows = 3})->size(), 3u);
}

TEST(Windows, RefusesWhatLeavesNothing) {
  EXPECT_FALSE(Windows::make(text(9), 1, {.context = 10}));
  EXPECT_FALSE(Windows::make(text(9), 1, {.context = 1}));
  EXPECT_FALSE(Windows::make(text(90), 1, {.context = 10, .skip = 9}));
  EXPECT_TRUE(Windows::make(text(90), 1, {.context = 10, .skip = 8}));
  EXPECT_FALSE(Windows::make({}, 1, {}));
}

}  // namespace
}  // namespace cairn

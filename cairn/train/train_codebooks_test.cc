// SPDX-License-Identifier: Apache-2.0
#include "cairn/train/train_codebooks.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cairn/codec/plan.h"
#include "cairn/testing/codec_pages.h"
#include "cairn/testing/random.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn::train {
namespace {

std::unique_ptr<Engine> tiny_engine(unsigned threads = 1) {
  return load_tiny(TinyModel{}.builder().build(), {.threads = threads}).value();
}

std::vector<TokenId> some_text(std::size_t tokens, std::uint32_t seed) {
  std::vector<TokenId> text;
  for (const float value : testing::random_floats(tokens, seed)) {
    text.push_back(3 + static_cast<TokenId>(std::fabs(value) * 1000) % 37);
  }
  return text;
}

Codebooks trained(const Engine& engine, std::string_view codec, const KvSamples& samples, unsigned threads = 1) {
  ThreadPool pool(threads);
  return train_codebooks(**find_codec(codec), engine.recipe().weights, samples, pool).value();
}

// Mean squared error of pages of the samples over the mean square, all layers and sides.
double error_of(const KvSamples& samples, const Codec& codec, const Codebooks* books) {
  double error = 0, square = 0;
  for (std::uint32_t l = 0; l < samples.layers(); ++l) {
    for (const PageSlot slot : kPageSlots) {
      PageFormat format = testing::test_format(codec, samples.shape(), slot);
      if (books != nullptr) format.codebook = books->table(l, slot);
      std::vector<float> rows(kBlockTokens * format.shape.values_per_token()), out(rows.size());
      for (std::uint32_t h = 0; h < format.shape.kv_heads; ++h) {
        const auto head = samples.head(l, slot, h);
        const std::uint32_t dim = format.shape.head_dim;
        for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
          std::copy_n(head.begin() + t * dim, dim, rows.begin() + (t * format.shape.kv_heads + h) * dim);
        }
      }
      if (codec.basis == BasisKind::kHadamard) hadamard_heads(rows, format.shape.head_dim);
      codec.decode(format, testing::make_page(format, rows, kBlockTokens).data(), kBlockTokens, out.data());
      for (std::size_t i = 0; i < rows.size(); ++i) {
        error += (rows[i] - out[i]) * (rows[i] - out[i]);
        square += rows[i] * rows[i];
      }
    }
  }
  return error / square;
}

TEST(TrainCodebooks, TrainedTablesLoseLessThanThoseForNormalValues) {
  const auto engine = tiny_engine();
  const auto samples = KvSamples::collect(*engine, some_text(4096, 1), {}).value();
  const auto others = KvSamples::collect(*engine, some_text(1024, 2), {}).value();
  for (const std::string codec : {"pq4", "pq4-256"}) {
    const Codebooks books = trained(*engine, codec, samples);
    EXPECT_LT(error_of(others, **find_codec(codec), &books), 0.9 * error_of(others, **find_codec(codec), nullptr))
        << codec;
  }
}

TEST(TrainCodebooks, AreTheSameForAnyNumberOfThreads) {
  const auto engine = tiny_engine(), other = tiny_engine(2);
  const auto text = some_text(1500, 3);
  for (const std::string codec : {"pq4", "pq4-256"}) {
    const auto one = trained(*engine, codec, KvSamples::collect(*engine, text, {.window = 100}).value(), 1);
    const auto two = trained(*other, codec, KvSamples::collect(*other, text, {.window = 100}).value(), 3);
    EXPECT_EQ(one.digest(), two.digest()) << codec;
  }
}

TEST(TrainCodebooks, SamplesAreKeysAndValuesOfTheWindows) {
  const auto engine = tiny_engine();
  const auto text = some_text(5000, 4);
  const auto samples = KvSamples::collect(*engine, text, {.max_tokens = 1024, .window = 128}).value();
  EXPECT_EQ(samples.tokens(), 1024u);
  // Windows begin alike when their tokens do; all begin with the begin token.
  const auto head = samples.head(0, PageSlot::kValues, 0);
  EXPECT_TRUE(std::equal(head.begin(), head.begin() + 8, head.begin() + 128 * 8));
  EXPECT_FALSE(std::equal(head.begin() + 8, head.begin() + 16, head.begin() + 129 * 8));
}

TEST(TrainCodebooks, WhatCannotBeTrainedIsRefused) {
  const auto engine = tiny_engine();
  const auto few = KvSamples::collect(*engine, some_text(1023, 5), {});
  ASSERT_FALSE(few);
  EXPECT_EQ(few.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(few.error().message.find("at least 1024"), std::string::npos);
  const auto samples = KvSamples::collect(*engine, some_text(1024, 5), {}).value();
  ThreadPool pool(1);
  EXPECT_EQ(train_codebooks(**find_codec("tok4"), {}, samples, pool).error().code, ErrorCode::kUnsupported);
}

// What a plan says to books that are not for it.
class PlanOfCodebooks : public ::testing::Test {
 protected:
  static std::string refusal(std::string_view spec, const Codebooks& books, std::uint32_t layers, PageShape shape) {
    const std::string path = ::testing::TempDir() + "/pq-books-" + std::to_string(::getpid());
    EXPECT_TRUE(books.write(path));
    const auto plan = make_plan(std::string(spec) + "+codebooks=" + path, {.layers = layers, .shape = shape});
    std::filesystem::remove(path);
    return plan ? "" : plan.error().message;
  }
  static Codebooks books(std::uint32_t id, PageShape shape, std::size_t bytes) {
    return Codebooks::make({}, id, shape, std::vector<std::vector<std::byte>>(2, std::vector<std::byte>(bytes)))
        .value();
  }
};

TEST_F(PlanOfCodebooks, RefusesThoseOfAnotherCodecShapeOrSize) {
  const PageShape shape = {1, 8};
  const Codec& pq4 = **find_codec("pq4");
  const auto right = books(pq4.id, shape, pq4.codebook_bytes(shape));
  EXPECT_EQ(refusal("pq4", right, 1, shape), "");
  EXPECT_EQ(refusal("pq4-256", right, 1, shape), "these codebooks are not for codec 'pq4-256'");
  EXPECT_NE(refusal("pq4", right, 1, {2, 8}).find("another model"), std::string::npos);
  EXPECT_NE(refusal("pq4", right, 2, shape).find("another model"), std::string::npos);
  const auto small = books(pq4.id, shape, pq4.codebook_bytes(shape) - 16);
  EXPECT_NE(refusal("pq4", small, 1, shape).find("reads"), std::string::npos);
  EXPECT_NE(refusal("tok4", right, 1, shape).find("no codec of the plan uses any"), std::string::npos);
}

}  // namespace
}  // namespace cairn::train

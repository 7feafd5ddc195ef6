// SPDX-License-Identifier: Apache-2.0
// A hit changes nothing: the logits of a prompt have the same bits however its prefix came to be in the cache.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstring>
#include <ostream>

#include "cairn/codec/codebooks.h"
#include "cairn/engine/engine.h"
#include "cairn/testing/codec_pages.h"
#include "cairn/testing/tiny_cold.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

// Dense weights in three types and quantised ones, over all architectures; caches of every kind. A lossy cache loses
// the same whether its prefix was computed just now or found.
struct Kind {
  std::string arch;
  std::uint32_t type;
  std::uint32_t width = 64;
  std::string codec = "raw_f16";
  std::uint32_t experts = 0;

  bool encodes() const { return !codec.starts_with("raw") || codec.ends_with("+cold"); }
  // How many random cases: what an architecture adds to Llama is covered by few.
  int cases() const { return experts == 0 && (arch == "llama" || arch.starts_with("qwen")) ? 100 : 25; }
};

void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.arch << " of type " << kind.type << " on " << kind.codec;
}

std::vector<std::byte> model_bytes(const Kind& kind) {
  TinyModel tiny;
  tiny.arch = kind.arch;
  tiny.type = kind.type;
  tiny.width = kind.width;  // wide enough for several tiles per thread
  tiny.ffn = 3 * kind.width;
  tiny.layers = kind.arch == "smollm3" ? 4 : 3;
  tiny.experts = kind.experts;
  tiny.like_v3 = kind.experts != 0;
  if (kind.codec == "axes") tiny.head_dim = 16;  // its least
  tiny.context = 2048;
  return tiny.builder().build();
}

// Codec `axes` with tables for the model, that fit it badly.
std::string with_axes(const Kind& kind) {
  const auto engine = load_tiny(model_bytes(kind), EngineOptions());
  if (!engine) return "";
  const PageShape shape = (*engine)->config().each_layer.front().cache.shape;
  std::vector<std::vector<std::byte>> tables;
  for (std::uint32_t layer = 0; layer < (*engine)->config().layers; ++layer) {
    for (const PageSlot slot : kPageSlots) tables.push_back(testing::make_normal_axes(shape, slot));
  }
  const auto books = Codebooks::make((*engine)->recipe().weights, codecs::kAxesId, shape, std::move(tables));
  const std::string path = ::testing::TempDir() + "exact_reuse_" + kind.arch + ".axes";
  if (!books || !books->write(path)) return "";
  return "axes+codebooks=" + path;
}

std::unique_ptr<Engine> make_engine(const Kind& kind, unsigned threads, std::size_t budget = std::size_t{64} << 20) {
  EngineOptions options;
  options.threads = threads;
  options.kv_budget_bytes = budget;
  options.codec = kind.codec == "axes" ? with_axes(kind) : with_cold_tables(model_bytes(kind), kind.codec);
  auto engine = load_tiny(model_bytes(kind), options);
  if (!engine) {
    ADD_FAILURE() << engine.error().message;
    return nullptr;
  }
  return *std::move(engine);
}

using Logits = std::vector<float>;

Logits computed(Engine& engine, Sequence& sequence, std::span<const TokenId> tokens) {
  const auto logits = engine.prefill(sequence, tokens);
  RC_ASSERT(logits.has_value());
  return {logits->begin(), logits->end()};
}

bool same_bits(const Logits& a, const Logits& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// The prompt computed in one go, nothing cached, one thread.
Logits cold(Engine& engine, std::span<const TokenId> prompt) {
  engine.cache().clear();
  Sequence sequence = engine.open({});
  return computed(engine, sequence, prompt);
}

std::vector<TokenId> random_prompt(std::size_t size) {
  std::vector<TokenId> prompt(size);
  for (TokenId& token : prompt) token = *rc::gen::inRange<TokenId>(3, 40);
  return prompt;
}

class ExactReuse : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    one_ = make_engine(GetParam(), 1);
    two_ = make_engine(GetParam(), 2);
    ASSERT_NE(one_, nullptr);
    ASSERT_NE(two_, nullptr);
  }
  std::unique_ptr<Engine> one_, two_;
  std::size_t reused_ = 0;
  int cases_ = 0;
};

TEST_P(ExactReuse, AnyPrefixAnySplitAnyThreads) {
  EXPECT_TRUE(rc::check([&] {
    if (++cases_ > GetParam().cases()) return;
    const auto prompt = random_prompt(*rc::gen::inRange<std::size_t>(1, 400));
    const Logits expected = cold(*one_, prompt);
    RC_ASSERT(same_bits(cold(*two_, prompt), expected));

    // In pieces: first some tokens, then the rest in random portions.
    two_->cache().clear();
    Sequence pieces = two_->open({});
    Logits last;
    for (std::size_t done = 0; done < prompt.size();) {
      const std::size_t count = std::min(prompt.size() - done, *rc::gen::inRange<std::size_t>(1, 150));
      last = computed(*two_, pieces, std::span(prompt).subspan(done, count));
      done += count;
    }
    RC_ASSERT(same_bits(last, expected));

    // From the index that the pieces have filled, at every block border in turn.
    for (std::size_t border = 0; border < prompt.size(); border += kBlockTokens) {
      two_->cache().clear();
      {
        Sequence filler = two_->open({});
        if (border > 0) computed(*two_, filler, std::span(prompt).first(border));
      }
      Sequence hit = two_->open(prompt);
      RC_ASSERT(hit.size() == border);
      RC_ASSERT(same_bits(computed(*two_, hit, std::span(prompt).subspan(border)), expected));
    }
  }));
}

// Beyond 16 pages attention is split, and two threads take the splits that one thread takes in turn.
TEST_P(ExactReuse, LongPrompts) {
  std::vector<TokenId> prompt(1500);
  for (std::size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<TokenId>(3 + (i * i + 5 * i) % 37);
  const Logits expected = cold(*one_, prompt);
  for (const std::size_t border : {960u, 1024u, 1472u}) {
    two_->cache().clear();
    {
      Sequence filler = two_->open({});
      computed(*two_, filler, std::span(prompt).first(border));
    }
    Sequence hit = two_->open(prompt);
    EXPECT_EQ(hit.size(), border);
    EXPECT_TRUE(same_bits(computed(*two_, hit, std::span(prompt).subspan(border)), expected)) << border;
  }
  Sequence stepwise = two_->open(prompt);
  Logits last;
  for (std::size_t i = stepwise.size(); i < prompt.size(); ++i) last = computed(*two_, stepwise, {&prompt[i], 1});
  EXPECT_TRUE(same_bits(last, expected));
}

TEST_P(ExactReuse, TrimAndForkAndCompany) {
  EXPECT_TRUE(rc::check([&] {
    if (++cases_ > GetParam().cases()) return;
    const auto prompt = random_prompt(*rc::gen::inRange<std::size_t>(2, 300));
    const Logits expected = cold(*one_, prompt);
    std::size_t keep = *rc::gen::inRange<std::size_t>(0, prompt.size());
    if (GetParam().encodes()) keep -= keep % kBlockTokens;  // what is inside an encoded block cannot be had again

    // Where a window has let go of what the cut would need, the beginning is computed anew.
    const auto cut = [&](Sequence& sequence) {
      if (sequence.trim(keep)) return;
      RC_ASSERT(std::ranges::any_of(model_layers(two_->config()), [](const LayerSpec& l) { return l.window != 0; }));
      sequence = two_->open({});
      computed(*two_, sequence, std::span(prompt).first(keep));
    };

    // Another continuation was computed first and cut off; a fork goes on while its twin goes elsewhere.
    two_->cache().clear();
    Sequence base = two_->open({});
    if (keep > 0) computed(*two_, base, std::span(prompt).first(keep));
    computed(*two_, base, random_prompt(*rc::gen::inRange<std::size_t>(1, 130)));
    Sequence twin = base.fork();
    cut(base);
    Sequence fork = base.fork();
    computed(*two_, twin, random_prompt(10));
    RC_ASSERT(same_bits(computed(*two_, fork, std::span(prompt).subspan(keep)), expected));
    RC_ASSERT(same_bits(computed(*two_, base, std::span(prompt).subspan(keep)), expected));

    // In one pass with other sequences of other lengths.
    cut(base);
    const std::size_t rest = std::min<std::size_t>(prompt.size() - keep, 100);
    const Logits partial = cold(*one_, std::span(prompt).first(keep + rest));
    const auto other = random_prompt(*rc::gen::inRange<std::size_t>(1, 100));
    Sequence companion = two_->open({});
    Logits mine(two_->config().vocab), theirs(two_->config().vocab);
    const ForwardRows company[] = {{&companion, other, 1, theirs.data()},
                                   {&base, std::span(prompt).subspan(keep, rest), 1, mine.data()}};
    const ForwardRows reversed[] = {company[1], company[0]};
    RC_ASSERT(two_->forward(*rc::gen::arbitrary<bool>() ? company : reversed).has_value());
    RC_ASSERT(same_bits(mine, partial));
    RC_ASSERT(same_bits(theirs, cold(*one_, other)));
  }));
}

// Blocks of generated tokens serve prompts, under a budget so small that blocks are evicted meanwhile.
TEST_P(ExactReuse, GeneratedPrefixesUnderEviction) {
  const auto small = make_engine(GetParam(), 2, std::size_t{900} << 10);
  EXPECT_TRUE(rc::check([&] {
    auto tokens = random_prompt(*rc::gen::inRange<std::size_t>(1, 100));
    {
      Sequence writer = small->open(tokens);
      Logits logits = computed(*small, writer, std::span(tokens).subspan(writer.size()));
      for (int i = 0; i < 75; ++i) {
        const auto next = static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
        tokens.push_back(next);
        logits = computed(*small, writer, {&next, 1});
      }
    }
    {
      const auto noise = random_prompt(*rc::gen::inRange<std::size_t>(1, 500));
      Sequence other = small->open(noise);
      computed(*small, other, std::span(noise).subspan(other.size()));
    }
    tokens.push_back(5);
    Sequence reader = small->open(tokens);
    reused_ += reader.size();
    const Logits got = computed(*small, reader, std::span(tokens).subspan(reader.size()));
    RC_ASSERT(same_bits(got, cold(*one_, tokens)));
    const KvCacheStats stats = small->cache().stats();
    RC_ASSERT(stats.high_water <= stats.bytes_budget);
  }));
  EXPECT_GT(reused_, 0u);
  const PrefixIndexStats index = small->cache().stats().index;
  EXPECT_GT(index.evictions + index.windows_dropped, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, ExactReuse,
    ::testing::Values(
        Kind{"llama", TinyModel::kF32}, Kind{"qwen3", TinyModel::kF16, 256}, Kind{"qwen2", TinyModel::kBF16, 160},
        Kind{"llama", TinyModel::kQ8_0}, Kind{"gemma", TinyModel::kQ8_0}, Kind{"gemma2", TinyModel::kQ8_0},
        Kind{"gemma3", TinyModel::kQ8_0}, Kind{"gemma3", TinyModel::kF32, 64, "tok4"}, Kind{"phi3", TinyModel::kQ8_0},
        Kind{"granite", TinyModel::kQ8_0}, Kind{"smollm3", TinyModel::kQ8_0}, Kind{"mistral3", TinyModel::kQ8_0},
        Kind{"llama", TinyModel::kQ8_0, 96, "raw_f16", 8}, Kind{"qwen2moe", TinyModel::kQ8_0, 64, "raw_f16", 8},
        Kind{"qwen3moe", TinyModel::kF16, 64, "raw_f16", 12}, Kind{"olmoe", TinyModel::kQ8_0, 64, "raw_f16", 8},
        Kind{"gpt-oss", TinyModel::kQ8_0, 64, "raw_f16", 8}, Kind{"gpt-oss", TinyModel::kQ8_0, 64, "zip", 8},
        Kind{"deepseek2", TinyModel::kQ8_0, 64, "raw_f16", 8}, Kind{"deepseek2", TinyModel::kF32, 64, "raw_f32"},
        Kind{"llama", TinyModel::kQ8_0, 64, "kivi2-g32"}, Kind{"qwen2", TinyModel::kQ8_0, 64, "tok4/kivi4-g64+sinks=1"},
        Kind{"qwen3", TinyModel::kQ8_0, 64, "zip"}, Kind{"llama", TinyModel::kQ8_0, 64, "zip-low/raw_f16"},
        Kind{"llama", TinyModel::kQ8_0, 64, "raw_f16+cold"}, Kind{"qwen2", TinyModel::kQ8_0, 64, "tok4/kivi4-g64+cold"},
        Kind{"gemma3", TinyModel::kF32, 64, "raw_f32+sinks=1+cold"}, Kind{"llama", TinyModel::kQ8_0, 64, "axes"},
        Kind{"qwen3", TinyModel::kF16, 64, "axes"}),
    [](const auto& kind) {
      std::string name = kind.param.arch + std::to_string(kind.param.type);
      std::erase(name, '-');
      if (kind.param.experts != 0) name += "_experts";
      for (const char c : kind.param.codec) name += std::isalnum(c) ? c : '_';
      return name;
    });

}  // namespace
}  // namespace cairn

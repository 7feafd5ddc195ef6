// SPDX-License-Identifier: Apache-2.0
// Tokens that a policy demotes: which codecs may take them, where they lie, and what attention makes of them.
#include "cairn/cache/demotion.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "cairn/cache/token_policy.h"
#include "cairn/testing/passes.h"

namespace cairn::pass_test {
namespace {

constexpr PageShape kShape{.kv_heads = 2, .head_dim = 16};

KvCacheOptions options_of(const std::string& plan, std::vector<LayerSpec> layers) {
  const auto count = static_cast<std::uint32_t>(layers.size());
  return {.plan = make_plan(plan, {count, layers.front().shape, nullptr}).value(),
          .layers = std::move(layers),
          .root = {},
          .budget_bytes = std::size_t{16} << 20};
}

Status check(const std::string& codec, const std::string& demote, PageShape shape = kShape) {
  const KvCacheOptions options = options_of(codec, like_layers(2, shape));
  return KvCache::check_policy(options, parse_policy("keydiff+demote=" + demote).value());
}

// The rule, over all pairs; a refusal names what fits and nothing else.
TEST(Demotion, TakesFewerBitsInTheSameBasis) {
  for (const Codec& own : codec_table()) {
    if (own.signals.mass || own.needs_codebook) continue;  // no retention at all; no books at hand
    std::set<std::string> fit, refused;
    std::string message;
    for (const Codec& other : codec_table()) {
      const Status status = check(std::string(own.name), std::string(other.name));
      const auto bits = [](const Codec& codec, PageSlot slot) {
        return bits_per_value({.codec = &codec, .shape = kShape, .slot = slot});
      };
      const bool fewer = !other.needs_codebook && bits(other, PageSlot::kKeys) < bits(own, PageSlot::kKeys) &&
                         bits(other, PageSlot::kValues) < bits(own, PageSlot::kValues);
      const bool expected =
          fewer && other.basis == own.basis && other.encode != nullptr && !other.signals.mass && !other.needs_codebook;
      EXPECT_EQ(status.has_value(), expected) << own.name << " to " << other.name;
      if (expected) fit.emplace(other.name);
      if (status) continue;
      EXPECT_EQ(status.error().code, ErrorCode::kUnsupported);
      EXPECT_EQ(status.error().message.find('\n'), std::string::npos);
      message = status.error().message;
    }
    const std::string known = message.substr(message.find(';'));
    for (const Codec& other : codec_table()) {
      std::string names = known + ",";
      std::ranges::replace(names, ' ', ',');
      EXPECT_EQ(names.find("," + std::string(other.name) + ",") != names.npos, fit.contains(std::string(other.name)))
          << other.name << " in " << message;
    }
  }
}

TEST(Demotion, SomePairs) {
  for (const auto& [own, other] : {std::pair("raw_f16", "kivi2-g32"),
                                   {"raw_bf16", "kivi4-g64"},
                                   {"tok8", "tok4"},
                                   {"kivi4-g64", "kivi2-g64"},
                                   {"kivi4-g32", "kivi2-g32"},
                                   {"raw_f32", "tok4-mean"}}) {
    EXPECT_TRUE(check(own, other)) << own << " to " << other;
  }
  for (const auto& [own, other] : {std::pair("raw_f16", "tok4"),
                                   {"raw_f16", "raw_f16"},
                                   {"raw_f32", "raw_f16"},
                                   {"tok4", "kivi2-g32"},
                                   {"kivi2-g32", "kivi4-g64"},
                                   {"kivi4-g64", "kivi4-g64"},
                                   {"raw_f16", "zip"},
                                   {"raw_f16", "pq4"},
                                   {"tok8/kivi4-g64", "kivi2-g32"},
                                   {"raw_f16", "no-such-codec"}}) {
    EXPECT_FALSE(check(own, other)) << own << " to " << other;
  }
  EXPECT_NE(check("raw_f16", "kivi3").error().message.find("unknown codec 'kivi3'"), std::string::npos);
  const Status latent = check("raw_f16", "kivi2-g32", {.kv_heads = 1, .head_dim = 24, .values_in_keys = 16});
  ASSERT_FALSE(latent);
  EXPECT_NE(latent.error().message.find("no codec can take them"), std::string::npos) << latent.error().message;
}

// Two layers that all tokens of a sequence are computed on.
class DemotionTest : public PassTest {
 protected:
  DemotionTest() { layers_ = like_layers(2, kShape); }

  std::unique_ptr<KvCache> cache(const std::string& codec) const {
    return KvCache::create(options_of(codec, layers_)).value();
  }
  Sequence open(KvCache& cache, const std::string& policy) const {
    Sequence sequence = cache.open({});
    EXPECT_TRUE(sequence.set_policy(parse_policy(policy).value())) << policy;
    return sequence;
  }
  static bool is_of(const PageView& view, const std::string& codec) { return view.key_format->codec->name == codec; }
};

struct Row {
  std::vector<float> k, v;
};

// What each token under a KV head decodes to, in the basis of the model, by position.
std::map<std::int32_t, Row> rows_of(const Sequence& sequence, std::uint32_t layer, std::uint32_t head) {
  std::map<std::int32_t, Row> rows;
  const std::size_t width = kShape.values_per_token(), dim = kShape.head_dim;
  for (const PageView& view : sequence.pages(layer)) {
    std::vector<float> k(view.count * width), v(view.count * width);
    view.key_format->codec->decode(*view.key_format, view.keys, view.count, k.data());
    view.value_format->codec->decode(*view.value_format, view.values, view.count, v.data());
    const Codec& own = *sequence.pages(layer).front().key_format->codec;
    if (own.basis == BasisKind::kHadamard) {
      hadamard_heads(k, kShape.head_dim);
      hadamard_heads(v, kShape.head_dim);
    }
    for (std::uint32_t t = 0; t < view.count; ++t) {
      const std::int32_t position = view.positions[std::size_t{head} * view.head_stride + t];
      if (position == kHiddenPosition) continue;
      const std::size_t at = t * width + head * dim;
      EXPECT_FALSE(rows.contains(position)) << "twice at " << position;
      rows[position] = {{k.data() + at, k.data() + at + dim}, {v.data() + at, v.data() + at + dim}};
    }
  }
  return rows;
}

// How far a head's row is from that of a token.
double distance(const std::vector<float>& got, What what, std::uint32_t layer, std::int32_t token, std::uint32_t head) {
  const auto row = row_of(what, layer, static_cast<std::size_t>(token), kShape.values_per_token());
  double sum = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    sum += std::pow(static_cast<double>(got[i]) - static_cast<double>(row[head * kShape.head_dim + i]), 2);
  }
  return sum;
}

// Every token is there once under every head, with a key and a value nearer its own than those of others, and attention
// is that of plain doubles over what is decoded.
TEST_F(DemotionTest, AttentionSeesWhatWasDemoted) {
  for (const auto& [codec, demote, policy] : {std::tuple("raw_f16", "kivi4-g32", "keydiff+keep=0.3"),
                                              {"raw_f16", "kivi2-g32", "random+keep=0.5"},
                                              {"raw_f32", "kivi4-g64", "keydiff+keep=0.4+heads=shared"},
                                              {"tok8", "tok4", "random+keep=0.25+budget=global"},
                                              {"kivi4-g64+sinks=1", "kivi2-g64", "tova+keep=0.5"},
                                              {"kivi4-g64+prefill=exact", "kivi2-g32", "zipcache"},
                                              {"raw_f16", "kivi4-g64", "random+keep=0.3+chunk=128+every=64"}}) {
    const auto held = cache(codec);
    Sequence sequence = open(*held, std::string(policy) + "+demote=" + demote);
    sequence.begin_prefill();
    while (sequence.size() < 460) {
      const std::size_t count = sequence.rows_until_retention(std::min<std::size_t>(100, 460 - sequence.size()));
      compute(sequence, following(sequence.size(), count));
    }
    ASSERT_TRUE(sequence.finish_prefill(pool_));
    while (sequence.size() < 530) compute(sequence, following(sequence.size(), 1));
    EXPECT_GT(sequence.policy_report().tokens_demoted, 0u);
    const Outputs outputs = compute(sequence, following(530, 1));
    for (std::uint32_t l = 0; l < layers_.size(); ++l) {
      const auto q = row_of(What::kQuery, l, 530, kHeads * kShape.head_dim);
      for (std::uint32_t h = 0; h < kShape.kv_heads; ++h) {
        const auto rows = rows_of(sequence, l, h);
        ASSERT_EQ(rows.size(), 531u) << codec << ' ' << policy;
        for (const auto& [position, row] : rows) {
          for (const auto& [what, own] : {std::pair(What::kKey, &row.k), {What::kValue, &row.v}}) {
            EXPECT_LT(distance(*own, what, l, position, h), distance(*own, what, l, position + 1, h)) << position;
            EXPECT_LT(distance(*own, what, l, position, h), distance(*own, what, l, position ^ 64, h)) << position;
          }
        }
        for (std::uint32_t g = 0; g < kHeads / kShape.kv_heads; ++g) {
          const std::size_t head = h * (kHeads / kShape.kv_heads) + g;
          std::vector<double> expected(kShape.head_dim);
          double sum = 0;
          for (const auto& [position, row] : rows) {
            double score = 0;
            for (std::size_t d = 0; d < kShape.head_dim; ++d) {
              score += static_cast<double>(q[head * kShape.head_dim + d]) * static_cast<double>(row.k[d]);
            }
            const double weight = std::exp(score);
            sum += weight;
            for (std::size_t d = 0; d < kShape.head_dim; ++d) expected[d] += weight * static_cast<double>(row.v[d]);
          }
          const std::vector<float>& out = outputs.at({l, 530});
          for (std::size_t d = 0; d < kShape.head_dim; ++d) {
            EXPECT_NEAR(static_cast<double>(out[head * kShape.head_dim + d]), expected[d] / sum, 8e-3)
                << codec << ' ' << policy << " layer " << l << " head " << head;
          }
        }
      }
    }
  }
}

// A quarter stays and three are demoted: both forms have that many pages, and only the tail has others.
TEST_F(DemotionTest, TakesTheBytesOfItsPages) {
  const auto held = cache("raw_f16");
  Sequence sequence = open(*held, "keydiff+keep=0.25+sinks=0+demote=kivi2-g32");
  compute(sequence, following(0, 1026));
  const std::size_t before = sequence.bytes_held();
  ASSERT_TRUE(sequence.finish_prefill(pool_));
  std::size_t raw = 0, low = 0;
  for (const PageView& view : sequence.pages(0)) {
    ++(is_of(view, "raw_f16") ? raw : low);
    EXPECT_TRUE(is_of(view, "raw_f16") || is_of(view, "kivi2-g32"));
  }
  EXPECT_EQ(raw, 4u + 1u);  // 255 of 257 tokens, as 2 are in the tail
  EXPECT_EQ(low, 13u);      // 769 tokens
  const LayerSpec& layer = layers_.front();
  const auto bytes = [&](const char* codec) {
    const Codec& of = **find_codec(codec);
    return of.page_bytes({.codec = &of, .shape = layer.shape, .slot = PageSlot::kKeys}) +
           of.page_bytes({.codec = &of, .shape = layer.shape, .slot = PageSlot::kValues});
  };
  EXPECT_EQ(sequence.bytes_held(), 2 * (raw * bytes("raw_f16") + low * bytes("kivi2-g32")));
  const PolicyReport report = sequence.policy_report();
  EXPECT_EQ(report.tokens_before, 4 * 1026u);
  EXPECT_EQ(report.tokens_kept, 4 * 257u);
  EXPECT_EQ(report.tokens_demoted, 4 * 769u);
  EXPECT_EQ(report.bytes_freed, before - sequence.bytes_held());
  EXPECT_FALSE(sequence.intact());
}

// What was demoted stays where and what it is, page by page; only newer tokens compete.
TEST_F(DemotionTest, NothingIsDemotedTwiceOrComesBack) {
  const auto held = cache("raw_f16");
  Sequence sequence = open(*held, "keydiff+keep=0.5+every=64+demote=kivi4-g64");
  compute(sequence, following(0, 512));
  ASSERT_TRUE(sequence.finish_prefill(pool_));
  const auto demoted = [&] {
    std::vector<const std::byte*> pages;
    for (const PageView& view : sequence.pages(1)) {
      if (is_of(view, "kivi4-g64")) pages.push_back(view.keys);
    }
    return pages;
  };
  auto before = demoted();
  EXPECT_EQ(before.size(), 4u);
  std::size_t grown = 0;
  while (sequence.size() < 1024) {
    compute(sequence, following(sequence.size(), 64));
    const auto now = demoted();
    ASSERT_GE(now.size(), before.size());
    EXPECT_TRUE(std::equal(before.begin(), before.end(), now.begin())) << "a demoted page has changed";
    grown += now.size() > before.size() ? 1 : 0;
    before = now;
  }
  EXPECT_GT(grown, 2u);
  const PolicyReport report = sequence.policy_report();
  EXPECT_EQ(report.tokens_kept + report.tokens_demoted, report.tokens_before);
  // Forks share the pages, and both go on alike.
  Sequence fork = sequence.fork();
  EXPECT_EQ(fork.pages(0).front().keys, sequence.pages(0).front().keys);
  expect_same(compute(fork, following(1024, 70)), compute(sequence, following(1024, 70)));
}

// Where pages of two forms would take more than the old ones, all stays.
TEST_F(DemotionTest, WhatSavesNothingIsLeftAlone) {
  const auto held = cache("kivi4-g64");
  Sequence sequence = open(*held, "keydiff+keep=0.95+demote=kivi2-g64");
  compute(sequence, following(0, 256));
  const std::size_t before = sequence.bytes_held();
  ASSERT_TRUE(sequence.finish_prefill(pool_));
  EXPECT_EQ(sequence.bytes_held(), before);
  EXPECT_EQ(sequence.pages(0).size(), 4u);
  EXPECT_TRUE(sequence.intact());
  const PolicyReport report = sequence.policy_report();
  EXPECT_EQ(report.tokens_kept, report.tokens_before);
  EXPECT_EQ(report.tokens_demoted, 0u);
  ASSERT_EQ(report.layers.size(), 2u);
  for (const PolicyReport::LayerKept& layer : report.layers) EXPECT_EQ(layer.kept, layer.before);
}

TEST(DemotionPolicy, IsAPartOfRetention) {
  EXPECT_EQ(parse_policy("zipcache")->demote, "kivi2-g32");
  EXPECT_EQ(parse_policy("zipcache+demote=kivi2-g32")->text, "zipcache");
  EXPECT_EQ(parse_policy("zipcache+demote=none")->demote, "");
  EXPECT_EQ(parse_policy("keydiff+demote=tok4+keep=0.5")->text, "keydiff+keep=0.5+demote=tok4");
  EXPECT_NE(parse_policy("quest+demote=tok4").error().message.find("has no part 'demote'"), std::string::npos);
  EXPECT_FALSE(parse_policy("full+demote=tok4"));
  for (const char* value : {"", "Kivi2", "a b"}) EXPECT_FALSE(parse_policy(std::string("keydiff+demote=") + value));
}

}  // namespace
}  // namespace cairn::pass_test

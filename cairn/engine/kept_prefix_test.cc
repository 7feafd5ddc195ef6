// SPDX-License-Identifier: Apache-2.0
// Kept prefixes inside the engine: a prompt that begins with what an earlier one kept under the same policy goes on
// there, and nothing that comes out, or that is reported, differs by a bit from computing all of it.
#include <gtest/gtest.h>

#include <cctype>
#include <ostream>
#include <string>
#include <vector>

#include "cairn/cache/kept_prefixes.h"
#include "cairn/cache/pass.h"
#include "cairn/engine/engine.h"
#include "cairn/testing/answers.h"
#include "cairn/testing/random.h"
#include "cairn/testing/sequence_pages.h"

namespace cairn {
namespace {

struct Setting {
  std::string arch = "llama";
  std::string codec = "raw_f16";
  std::string policy = "keydiff+keep=0.25+chunk=128";
  bool reuse = true;
  std::size_t budget = std::size_t{64} << 20;
  std::string tenant{};
  bool keeps_prefixes = true;
};

void PrintTo(const Setting& setting, std::ostream* out) {
  *out << setting.arch << ' ' << setting.codec << ' ' << setting.policy;
}

std::unique_ptr<Engine> make_engine(const Setting& setting) {
  auto engine = load_three_layers(setting.arch, {.threads = 2,
                                                 .kv_budget_bytes = setting.budget,
                                                 .codec = setting.codec,
                                                 .policy = setting.policy,
                                                 .reuse = setting.reuse,
                                                 .keeps_prefixes = setting.keeps_prefixes,
                                                 .tenant = setting.tenant});
  if (engine) return *std::move(engine);
  ADD_FAILURE() << engine.error().message;
  return nullptr;
}

// A prompt of the same beginning as all others, and an end of its own.
std::vector<TokenId> prompt_of(std::size_t shared, std::size_t own, std::size_t salt) {
  std::vector<TokenId> tokens = looping_text(shared);
  for (const TokenId id : looping_text(own, salt)) tokens.push_back(id);
  return tokens;
}

// All that comes out of a prompt and of an answer long enough for `every`.
struct Outcome {
  std::size_t reused = 0;
  std::vector<Logits> logits{};
  std::uint64_t content = 0, at_prompt_end = 0;
  PolicyReport report{};
};

Outcome outcome_of(Engine& engine, std::span<const TokenId> prompt, std::size_t steps = 140) {
  const testing::SequencePages pages(engine.cache().options());
  Sequence sequence = engine.open(prompt);
  Outcome outcome{.reused = sequence.reused_tokens()};
  EXPECT_EQ(outcome.reused, sequence.size());
  outcome.logits = answer(engine, sequence, prompt.subspan(sequence.size()), 0);
  outcome.at_prompt_end = pages.seen(sequence).bytes;
  for (const TokenId id : looping_text(steps, 11)) {
    const auto next = engine.decode(sequence, id);
    EXPECT_TRUE(next) << next.error().message;
    if (!next) return outcome;
    outcome.logits.emplace_back(next->begin(), next->end());
  }
  outcome.content = pages.seen(sequence).bytes;
  outcome.report = sequence.policy_report();
  return outcome;
}

void expect_same(const Outcome& a, const Outcome& b) {
  EXPECT_TRUE(same_bits(a.logits, b.logits));
  EXPECT_EQ(a.at_prompt_end, b.at_prompt_end);
  EXPECT_EQ(a.content, b.content);
  EXPECT_EQ(a.report.policy, b.report.policy);
  EXPECT_EQ(a.report.tokens_before, b.report.tokens_before);
  EXPECT_EQ(a.report.tokens_kept, b.report.tokens_kept);
  EXPECT_EQ(a.report.tokens_demoted, b.report.tokens_demoted);
  EXPECT_EQ(a.report.bytes_freed, b.report.bytes_freed);
  EXPECT_EQ(a.report.put_off, b.report.put_off);
  EXPECT_EQ(a.report.query_bytes, b.report.query_bytes);
  ASSERT_EQ(a.report.layers.size(), b.report.layers.size());
  for (std::size_t l = 0; l < a.report.layers.size(); ++l) {
    EXPECT_EQ(a.report.layers[l].before, b.report.layers[l].before);
    EXPECT_EQ(a.report.layers[l].kept, b.report.layers[l].kept);
  }
}

class KeptPrefix : public ::testing::TestWithParam<Setting> {};

TEST_P(KeptPrefix, AHitChangesNoBit) {
  const auto engine = make_engine(GetParam());
  Setting alone = GetParam();
  alone.reuse = false;
  const auto cold = make_engine(alone);
  ASSERT_NE(engine, nullptr);
  const auto first = prompt_of(700, 30, 7), second = prompt_of(700, 50, 8), longer = prompt_of(700, 600, 9),
             third = prompt_of(700, 40, 10);
  expect_same(outcome_of(*engine, first), outcome_of(*cold, first));
  const std::size_t chunk = engine->policy()->chunk, border = 700 / chunk * chunk;
  for (const auto& prompt : {second, longer, third}) {  // the last one after another has taken it further
    const Outcome hit = outcome_of(*engine, prompt);
    EXPECT_EQ(hit.reused, border);
    expect_same(hit, outcome_of(*cold, prompt));
  }
  const Outcome further = outcome_of(*engine, longer);
  EXPECT_EQ(further.reused, 1299 / chunk * chunk);
  expect_same(further, outcome_of(*cold, longer));
  const KeptPrefixStats stats = engine->cache().stats().kept;
  EXPECT_EQ(stats.hits, 4u);
  EXPECT_EQ(stats.tokens_matched, 3 * border + further.reused);
  EXPECT_GT(stats.bytes, 0u);
  EXPECT_EQ(cold->cache().stats().kept.published, 0u) << "reuse is off";
}

INSTANTIATE_TEST_SUITE_P(
    Policies, KeptPrefix,
    ::testing::Values(Setting{}, Setting{.codec = "tok4"}, Setting{.codec = "kivi4-g64"},
                      Setting{.codec = "tok4+sinks=1", .policy = "knorm+keep=0.3+chunk=64"},
                      Setting{.codec = "raw_f32", .policy = "lagkv+keep=0.4+chunk=320"},
                      Setting{.policy = "random+keep=0.5+chunk=128+every=64"},
                      Setting{.policy = "streamingllm+keep=0.2+chunk=64+every=64+then=age"},
                      Setting{.policy = "keydiff+keep=0.25+chunk=128+demote=kivi2-g32"},
                      Setting{.codec = "tok8", .policy = "keydiff+keep=0.3+chunk=192+demote=tok4+every=64"},
                      Setting{.policy = "keydiff+keep=0.4+chunk=128+budget=prefix+heads=shared+group=2"},
                      Setting{.codec = "tok4", .policy = "keydiff+keep=0.4+chunk=128+budget=global+unit=8+pool=3"},
                      Setting{.policy = "keydiff+keep=0.4+chunk=128+punctuation=0.5+recent=32+recent-share=0.3"},
                      Setting{.arch = "gemma3"}, Setting{.arch = "gemma3", .codec = "kivi4-g64"},
                      Setting{.arch = "deepseek2"}),
    [](const auto& setting) {
      std::string name;
      for (const char c : setting.param.arch + setting.param.codec + setting.param.policy) {
        name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
      }
      return name;
    });

// What one sequence after another kept, as far as it may be found by the next.
TEST(KeptPrefixTest, OthersFindNothing) {
  const auto engine = make_engine({});
  const auto prompt = prompt_of(700, 30, 7);
  outcome_of(*engine, prompt, 0);
  const auto reused = [&](const std::string& policy) {
    return engine->open(prompt, {}, std::optional(parse_policy(policy).value())).reused_tokens();
  };
  EXPECT_EQ(reused("keydiff+keep=0.25+chunk=128"), 640u);
  EXPECT_EQ(reused("keydiff+chunk=128"), 640u) << "0.25 is what it keeps by default";
  for (const char* other : {"keydiff+keep=0.5+chunk=128", "knorm+keep=0.25+chunk=128", "keydiff+chunk=128+sinks=5",
                            "keydiff+keep=0.25+chunk=128+every=64", "keydiff+keep=0.25+chunk=128+demote=kivi2-g32"}) {
    EXPECT_EQ(reused(other), 64u) << other;  // exact blocks
  }
  EXPECT_EQ(reused("keydiff+keep=0.25"), 128u) << "nobody computed more of it exactly";
  EXPECT_EQ(engine->open(prompt, {}, std::nullopt).reused_tokens(), 128u);
  for (const Setting& other : {Setting{.reuse = false}, Setting{.tenant = "another"}}) {
    const auto apart = engine->sibling({.policy = Setting().policy, .reuse = other.reuse, .tenant = other.tenant});
    EXPECT_EQ((*apart)->open(prompt).reused_tokens(), 0u);
  }
  auto unlike = prompt;
  unlike[639] += 1;
  EXPECT_EQ(engine->open(unlike).reused_tokens(), 512u) << "the border before it";
  unlike[2] += 1;
  EXPECT_EQ(engine->open(unlike).reused_tokens(), 0u);
  const auto whole = std::span(prompt).first(640);
  EXPECT_EQ(engine->open(whole).reused_tokens(), 512u) << "the last token must be computed";
  engine->cache().clear();
  EXPECT_EQ(engine->open(prompt).reused_tokens(), 0u);
  EXPECT_EQ(engine->cache().stats().bytes_used, 0u);
}

TEST(KeptPrefixTest, WhatSeesQueriesOrOnlyReadsIsNotPublished) {
  for (const char* policy : {"snapkv+chunk=128", "tova+chunk=128", "expected+chunk=128", "h2o+chunk=128",
                             "observed+chunk=128", "quest", "keydiff", "keydiff+keep=1+chunk=128"}) {
    const auto engine = make_engine({.policy = policy});
    const auto prompt = prompt_of(700, 30, 7);
    outcome_of(*engine, prompt, 70);
    EXPECT_EQ(engine->cache().stats().kept.published, 0u) << policy;
  }
}

// Sequences that were changed by more than their tokens and their policy.
TEST(KeptPrefixTest, WhatWasDisturbedIsNotPublished) {
  const auto engine = make_engine({});
  const auto prompt = looping_text(600);
  const auto compute = [&](Sequence& sequence, std::size_t end, bool whole = false) {
    while (sequence.size() < end) {
      const auto left = std::span(prompt).first(end).subspan(sequence.size());
      const std::size_t rows = whole ? left.size() : sequence.rows_until_retention(left.size());
      const ForwardRows batch[] = {{&sequence, left.first(rows), 0, nullptr}};
      ASSERT_TRUE(engine->forward(batch));
    }
  };
  const auto published = [&] { return engine->cache().stats().kept.published; };
  const auto open = [&] {
    engine->cache().clear();
    return engine->open({});
  };
  Sequence hidden = open();
  compute(hidden, 100);
  const std::size_t some[] = {70};
  ASSERT_TRUE(hidden.hide(some));
  compute(hidden, 300);
  EXPECT_EQ(published(), 0u) << "it hid a token";
  Sequence dropped = open();
  compute(dropped, 100);
  ASSERT_TRUE(dropped.drop_block(1, 0));
  compute(dropped, 300);
  EXPECT_EQ(published(), 0u) << "it dropped a block";
  Sequence trimmed = open();
  compute(trimmed, 100);
  ASSERT_TRUE(trimmed.trim(80));
  compute(trimmed, 300);
  EXPECT_EQ(published(), 0u) << "it was cut";
  Sequence late = open();
  compute(late, 100);
  compute(late, 200, /*whole=*/true);
  compute(late, 300);
  EXPECT_EQ(published(), 0u) << "it passed a border";
  Sequence moved = open();
  compute(moved, 100);
  {
    PassRunner runner(engine->config().heads, engine->pool());
    std::vector<std::int32_t> positions;
    for (std::int32_t i = 0; i < 28; ++i) positions.push_back(110 + i);
    const PassRows rows[] = {{&moved, positions}};
    auto pass = runner.begin(rows);
    ASSERT_TRUE(pass) << pass.error().message;
    const testing::SequencePages pages(engine->cache().options());
    std::vector<std::uint32_t> numbers(28);
    for (std::uint32_t i = 0; i < 28; ++i) numbers[i] = i;
    for (std::uint32_t l = 0; l < pages.layers(); ++l) {
      const PageShape shape = pages.spec(l).shape;
      const auto k = testing::random_floats(28 * shape.values_per_token(), l + 1);
      const auto q = testing::random_floats(28 * engine->config().heads * shape.head_dim, l + 9);
      std::vector<float> out(q.size());
      pass->append(l, k.data(), k.data());
      ASSERT_TRUE(pass->attend({.layer = l, .rows = numbers, .q = q.data(), .out = out.data()}));
    }
    ASSERT_TRUE(pass->commit(std::span(prompt).subspan(100, 28)));
  }
  EXPECT_EQ(moved.size(), 128u);
  EXPECT_EQ(published(), 0u) << "its tokens stand elsewhere";
  Sequence again = open();
  compute(again, 100);
  ASSERT_TRUE(again.trim(0));
  compute(again, 300);
  EXPECT_EQ(published(), 2u) << "one that begins anew is as good as new";
}

// A budget that admits one prompt by itself admits one after the other; what was kept goes for it. With twice as much
// the newest is found again.
TEST(KeptPrefixTest, RoomIsGivenBackBeforeAnythingIsRefused) {
  const Setting setting{};
  const std::size_t least = [&] {
    const auto engine = make_engine(setting);
    const PlannedBytes planned = engine->planned_bytes(&*engine->policy(), 1000, 0, 1140);
    return std::max(planned.whole, planned.packed);
  }();
  const auto cold = make_engine({.reuse = false});
  for (const std::size_t budget : {least, 4 * least}) {
    const auto tight = make_engine({.budget = budget});
    for (std::size_t salt = 0; salt < 8; ++salt) {
      const auto prompt = looping_text(1000, salt);
      expect_same(outcome_of(*tight, prompt), outcome_of(*cold, prompt));
      if (budget > least) {
        EXPECT_EQ(outcome_of(*tight, prompt, 0).reused, 896u) << salt;
      }
    }
    const KvCacheStats stats = tight->cache().stats();
    EXPECT_GT(stats.kept.evictions, 0u);
    EXPECT_LE(stats.high_water, stats.bytes_budget);
  }
}

// While it goes on, what a sequence published costs next to nothing: the pages are its own.
TEST(KeptPrefixTest, PagesAreShared) {
  const auto engine = make_engine({});
  const auto prompt = prompt_of(640, 40, 7), other = prompt_of(640, 40, 8);
  Sequence first = engine->open(prompt);
  ASSERT_TRUE(engine->prefill(first, std::span(prompt).subspan(first.size())));
  const std::size_t before = engine->cache().stats().bytes_used;
  Sequence second = engine->open(other);
  EXPECT_EQ(second.size(), 640u);
  EXPECT_EQ(engine->cache().stats().bytes_used, before);
  EXPECT_GT(second.bytes_held(), 0u);
}

// Where no other prompt will begin alike nothing is published, and the pages go with the sequence.
TEST(KeptPrefixTest, CanBeSwitchedOff) {
  const Setting off{.keeps_prefixes = false};
  const auto engine = make_engine(off), keeping = make_engine({}), cold = make_engine({.reuse = false});
  const auto prompt = prompt_of(700, 30, 7);
  for (int i = 0; i < 2; ++i) {
    const Outcome outcome = outcome_of(*engine, prompt, 0);
    EXPECT_EQ(outcome.reused, i == 0 ? 0u : 64u) << "exact blocks";
    expect_same(outcome, outcome_of(*cold, prompt, 0));
  }
  outcome_of(*keeping, prompt, 0);
  const KvCacheStats stats = engine->cache().stats(), with = keeping->cache().stats();
  EXPECT_EQ(stats.kept.published, 0u);
  EXPECT_LT(stats.high_water, with.high_water);
  EXPECT_LT(stats.bytes_used, with.bytes_used);
}

}  // namespace
}  // namespace cairn

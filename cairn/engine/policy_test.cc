// SPDX-License-Identifier: Apache-2.0
// Token policies inside the engine: the invariants of docs/policies.md, for every policy of the table.
#include "cairn/policy/policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cairn/engine/engine.h"
#include "cairn/engine/generate.h"
#include "cairn/testing/answers.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

struct Setting {
  std::string arch = "llama";
  std::string codec = "raw_f16";
  std::string policy{};
  unsigned threads = 2;
  bool reuse = false;
  std::size_t budget = std::size_t{64} << 20;
};

std::unique_ptr<Engine> make_engine(const Setting& setting) {
  auto engine = load_three_layers(setting.arch, {.threads = setting.threads,
                                                 .kv_budget_bytes = setting.budget,
                                                 .codec = setting.codec,
                                                 .policy = setting.policy,
                                                 .reuse = setting.reuse});
  if (engine) return *std::move(engine);
  ADD_FAILURE() << engine.error().message;
  return nullptr;
}

// Of a prompt whose beginning the sequence may hold already.
std::vector<Logits> answer_rest(Engine& engine, Sequence& sequence, std::span<const TokenId> prompt,
                                std::size_t steps) {
  return answer(engine, sequence, prompt.subspan(sequence.size()), steps);
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const NamedPolicy& policy : policy_table()) all.emplace_back(policy.name);
  for (const char* also : {"sparf+rest=mean", "double-p+rest=boxes"}) all.emplace_back(also);
  return all;
}

// A setting with this codec; where the policy demotes from codes, from and to some that lie in one basis.
Setting with_codec(const std::string& codec, const std::string& policy) {
  if (!policy.starts_with("zipcache") || codec.starts_with("raw")) return {.codec = codec, .policy = policy};
  return {.codec = "tok8" + codec.substr(std::min(codec.find('+'), codec.size())), .policy = policy + "+demote=tok4"};
}

// The policy with this share to keep; one that keeps all has none.
std::string keeping(const std::string& name, const std::string& share) {
  return name == "full" ? name : name + "+keep=" + share;
}

class EveryPolicy : public ::testing::TestWithParam<std::string> {};

// Invariant 9: a budget for everything changes nothing, under raw and encoded pages, and windows.
TEST_P(EveryPolicy, KeepingAllIsBitIdentical) {
  for (const auto& [arch, codec] : {std::pair("llama", "raw_f16"), {"llama", "tok4"}, {"gemma3", "kivi4-g64"}}) {
    Setting setting = with_codec(codec, keeping(GetParam(), "1"));
    setting.arch = arch;
    const auto plain = make_engine({.arch = arch, .codec = setting.codec});
    const auto with = make_engine(setting);
    const auto prompt = looping_text(530);
    Sequence one = plain->open(prompt), other = with->open(prompt);
    const auto expected = answer_rest(*plain, one, prompt, 70);
    EXPECT_TRUE(same_bits(answer_rest(*with, other, prompt, 70), expected)) << arch << ' ' << codec;
    EXPECT_TRUE(other.intact());
    EXPECT_EQ(other.policy_report().bytes_freed, 0u);
    EXPECT_EQ(other.policy_report().read_fraction(), 1.0);
  }
}

// Invariant 6: neither threads nor the cut of the prompt nor company decide what comes out.
TEST_P(EveryPolicy, IsDeterministic) {
  for (const char* codec : {"raw_f16", "tok4"}) {
    Setting setting = with_codec(codec, GetParam());
    setting.threads = 1;
    const auto one = make_engine(setting);
    setting.threads = 3;
    const auto two = make_engine(setting);
    const auto prompt = looping_text(700);
    Sequence whole = one->open(prompt);
    const auto expected = answer_rest(*one, whole, prompt, 140);
    // Cut anywhere, by hand; the prompt ends with the last piece.
    Sequence pieces = two->open(prompt);
    std::vector<float> logits(two->config().vocab);
    for (const std::size_t end : {1u, 63u, 200u, 330u, 586u}) {
      const ForwardRows rows[] = {{&pieces, std::span(prompt).subspan(pieces.size(), end - pieces.size())}};
      ASSERT_TRUE(two->forward(rows));
    }
    EXPECT_TRUE(same_bits(answer_rest(*two, pieces, prompt, 140), expected)) << codec;
    EXPECT_EQ(pieces.bytes_held(), whole.bytes_held());
  }
}

// Memory comes back, or less is read; positions and sizes stay logical.
TEST_P(EveryPolicy, CostsWhatItSays) {
  const auto spec = parse_policy(GetParam());
  ASSERT_TRUE(spec);
  if (spec->keep == 1) return;  // KeepingAllIsBitIdentical has it
  const auto plain = make_engine({});
  const auto with = make_engine({.policy = keeping(GetParam(), "0.25")});
  const auto prompt = looping_text(2048);
  Sequence one = plain->open(prompt), other = with->open(prompt);
  answer_rest(*plain, one, prompt, 256);
  answer_rest(*with, other, prompt, 256);
  EXPECT_EQ(other.size(), one.size());
  EXPECT_FALSE(other.intact());
  const PolicyReport report = other.policy_report();
  if (spec->reads_less()) {
    EXPECT_LE(report.read_fraction(), 0.33);
    EXPECT_GE(report.read_fraction(), 0.2);
  } else if (spec->prompt_stays) {
    EXPECT_LT(other.bytes_held(), one.bytes_held());
    EXPECT_GT(other.bytes_held(), one.bytes_held() * 2048 / (2048 + 256));
  } else {
    const double share = static_cast<double>(report.tokens_kept) / static_cast<double>(report.tokens_before);
    EXPECT_LE(share, 0.2501);
    EXPECT_GE(share, 0.24);  // units of several tokens may not fill the budget
    EXPECT_EQ(report.tokens_demoted > 0, !spec->demote.empty());
    // Two bits of heads so short are 4.5 of f16's 16 with all that belongs to them.
    const std::size_t low = spec->demote.empty() ? 0 : one.bytes_held() * 3 / 4 * 9 / 32;
    EXPECT_GT(report.bytes_freed, one.bytes_held() / 2 - low);
    EXPECT_LE(other.bytes_held(), one.bytes_held() / 4 + one.bytes_held() / 8 + (one.bytes_held() >> 4) + low);
  }
}

// What chunks before the last one let go of counts among the tokens that it has not kept.
TEST(PolicyTest, WhatIsKeptIsAShareOfAllTokens) {
  for (const char* policy : {"keydiff+keep=0.25", "keydiff+keep=0.25+chunk=64", "keydiff+keep=0.25+chunk=64+every=64",
                             "keydiff+keep=0.25+chunk=64+demote=kivi2-g32"}) {
    const auto engine = make_engine({.policy = policy});
    const auto prompt = looping_text(1498);
    Sequence sequence = engine->open(prompt);
    answer_rest(*engine, sequence, prompt, 0);
    const PolicyReport report = sequence.policy_report();
    std::size_t held = 0;
    for (const PolicyReport::LayerKept& layer : report.layers) {
      held += layer.kept;
      EXPECT_EQ(layer.before * report.layers.size(), report.tokens_before) << policy;
    }
    EXPECT_EQ(held, report.tokens_kept) << policy;
    EXPECT_EQ(report.tokens_before % 1498, 0u) << policy;
    EXPECT_NEAR(policy_figures(sequence).kept, 0.25, 0.02) << policy;
    if (report.tokens_demoted > 0) {
      EXPECT_EQ(report.tokens_kept + report.tokens_demoted, report.tokens_before);
    }
  }
}

// A prefix that others share stays what it is, and a hit changes nothing.
void share_prefix(Setting setting) {
  setting.reuse = true;
  const std::string codec = setting.codec, policy = setting.policy;
  const auto with = make_engine(setting);
  const auto plain = make_engine({.codec = codec});
  const auto prompt = looping_text(660);
  Sequence cold = with->open(prompt);
  const auto expected = answer_rest(*with, cold, prompt, 80);
  // A second one starts from the blocks that the first one published, as far as its policy lets it.
  Sequence hit = with->open(prompt);
  const auto spec = parse_policy(policy);
  EXPECT_EQ(hit.size(), std::min<std::size_t>(640, reusable_tokens(*spec, 660) / 64 * 64));
  EXPECT_TRUE(same_bits(answer_rest(*with, hit, prompt, 80), expected));
  // And those blocks are still the exact ones: a longer prompt's first logits are those of no policy.
  auto longer = prompt;
  longer.push_back(9);
  Sequence other = with->open(longer), exact = plain->open(longer);
  const auto logits = with->prefill(other, std::span(longer).subspan(other.size()));
  ASSERT_TRUE(logits);
  const Logits got(logits->begin(), logits->end());
  EXPECT_TRUE(same_bits({got}, answer_rest(*plain, exact, longer, 0)));
}

TEST_P(EveryPolicy, SharesPrefixes) {
  for (const char* codec : {"raw_f16", "tok4+sinks=1"}) share_prefix(with_codec(codec, GetParam()));
}

// Forks go their own ways; what was packed cannot be trimmed into, the rest can.
TEST_P(EveryPolicy, ForksAndTrims) {
  const auto engine = make_engine({.policy = GetParam()});
  const auto prompt = looping_text(520);
  Sequence base = engine->open(prompt);
  answer_rest(*engine, base, prompt, 0);
  Sequence fork = base.fork(), again = base.fork();
  auto longer = prompt;
  for (const TokenId id : looping_text(90, 3)) longer.push_back(id);
  const auto first = answer_rest(*engine, fork, longer, 5);
  EXPECT_TRUE(same_bits(answer_rest(*engine, again, longer, 5), first));
  const auto spec = parse_policy(GetParam());
  if (spec->every != 0) return;  // it counts attention that a trim could not take back
  const std::size_t held = fork.bytes_held();
  const bool packed = !spec->reads_less() && spec->keep != 1;
  const bool remembers = spec->reads_less() && spec->window > 0;  // twice its window of queries
  EXPECT_EQ(fork.trim(300).has_value(), !packed && !remembers);
  if (!packed && !remembers) return;
  EXPECT_EQ(fork.bytes_held(), held);
  ASSERT_TRUE(fork.trim(remembers ? 605 : 520));
  EXPECT_TRUE(same_bits(answer_rest(*engine, fork, longer, 5), first));
  ASSERT_TRUE(fork.trim(0));
  Sequence fresh = engine->open(prompt);
  EXPECT_TRUE(same_bits(answer_rest(*engine, fork, prompt, 3), answer_rest(*engine, fresh, prompt, 3)));
}

INSTANTIATE_TEST_SUITE_P(Table, EveryPolicy, ::testing::ValuesIn(names()), [](const auto& name) {
  std::string text = name.param;
  std::ranges::replace_if(
      text, [](char c) { return c == '-' || c == '+' || c == '='; }, '_');
  return text;
});

// Boxes that were made for more blocks than a query sees now: blocks before the tail that stay as they were computed,
// and a cut.
TEST(PolicyTest, ReadersAfterACut) {
  for (const char* policy : {"quest", "mpcache", "sketch", "double-p"}) {
    const auto engine = make_engine({.codec = "kivi4-g32+recent=2", .policy = policy});
    const auto prompt = looping_text(900);
    Sequence straight = engine->open(prompt), cut = engine->open(prompt);
    answer_rest(*engine, straight, prompt, 0);
    answer_rest(*engine, cut, prompt, 0);
    auto longer = prompt;
    for (const TokenId id : looping_text(40, 3)) longer.push_back(id);
    auto other = prompt;
    for (const TokenId id : looping_text(300, 7)) other.push_back(id);
    answer_rest(*engine, cut, other, 0);
    ASSERT_TRUE(cut.trim(1088)) << policy;  // the last blocks are open still
    ASSERT_TRUE(cut.trim(1030)) << policy;
    const auto logits = engine->decode(cut, 5);
    EXPECT_TRUE(logits) << policy;
  }
}

// Blocks of a prompt are raw until it ends: boxes are made of what is stored afterwards.
TEST(PolicyTest, APromptMakesNoBoxes) {
  for (const char* codec : {"raw_f16", "kivi4-g64+prefill=exact"}) {
    const auto engine = make_engine({.codec = codec, .policy = "quest+keep=0.25"});
    const auto prompt = looping_text(900);
    Sequence sequence = engine->open(prompt);
    answer_rest(*engine, sequence, prompt, 0);
    EXPECT_EQ(sequence.policy_report().box_bytes, 0u) << codec;
    ASSERT_TRUE(engine->decode(sequence, 5));
    const PolicyReport decoded = sequence.policy_report();
    EXPECT_GT(decoded.box_bytes, 0u) << codec;
    ASSERT_TRUE(engine->prefill(sequence, looping_text(300)));
    EXPECT_EQ(sequence.policy_report().box_bytes, decoded.box_bytes) << codec;
    EXPECT_EQ(sequence.policy_report().boxes_read, decoded.boxes_read) << codec;
    ASSERT_TRUE(engine->decode(sequence, 5));
    EXPECT_GT(sequence.policy_report().box_bytes, decoded.box_bytes) << codec;
  }
}

TEST(PolicyTest, SheetsOfCachedPrefixesAreCounted) {
  for (const bool reuse : {true, false}) {
    const auto engine = make_engine({.policy = "quest+keep=0.25", .reuse = reuse});
    const auto prompt = looping_text(2200);
    Sequence sequence = engine->open(prompt);
    answer_rest(*engine, sequence, prompt, 1);
    const std::size_t bytes = engine->cache().stats().sheet_bytes;
    EXPECT_EQ(bytes > 0, reuse);
    EXPECT_LE(bytes, sequence.policy_report().box_bytes);
    engine->cache().clear();
    EXPECT_EQ(engine->cache().stats().sheet_bytes, 0u);
  }
}

TEST(PolicyTest, WhatACacheCannotFollowIsRefused) {
  TinyModel tiny;
  tiny.type = TinyModel::kQ8_0;
  const auto with = [&](const std::string& codec, const std::string& policy) {
    return load_tiny(tiny.builder().build(), {.threads = 1, .codec = codec, .policy = policy});
  };
  const auto zip = with("zip", "keydiff");
  ASSERT_FALSE(zip);
  EXPECT_EQ(zip.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(zip.error().message.find("codec 'zip'"), std::string::npos) << zip.error().message;
  EXPECT_FALSE(with("raw_f16", "no-such-policy"));
  EXPECT_FALSE(with("raw_f16", "keydiff+keep=0"));
}

// Short prompts: shorter than the probe window, than a block, of one token. What a query reads of the first whole block
// is less than that block, so readers see none here.
TEST(PolicyTest, ShortPromptsKeepAll) {
  for (const std::string& name : names()) {
    const auto plain = make_engine({});
    const auto with = make_engine({.policy = name});
    const std::size_t longest = parse_policy(name)->reads_less() ? 60 : 63;
    for (const std::size_t size : {std::size_t{1}, std::size_t{5}, longest}) {
      const auto prompt = looping_text(size);
      Sequence one = plain->open(prompt), other = with->open(prompt);
      EXPECT_TRUE(same_bits(answer_rest(*with, other, prompt, 3), answer_rest(*plain, one, prompt, 3)))
          << name << ' ' << size;
    }
  }
}

// A budget that holds the prompt but not the survivors beside it.
TEST(PolicyTest, NoRoomForSurvivorsIsAnError) {
  const auto plain = make_engine({});
  const auto prompt = looping_text(640);
  Sequence one = plain->open(prompt);
  answer_rest(*plain, one, prompt, 0);
  const auto tight = make_engine({.policy = "knorm+keep=0.9", .budget = plain->cache().bytes_for(640, 256)});
  Sequence other = tight->open(prompt);
  const auto logits = tight->prefill(other, prompt);
  ASSERT_FALSE(logits) << "the budget had room for both";
  EXPECT_EQ(logits.error().code, ErrorCode::kOutOfBudget);
}

}  // namespace
}  // namespace cairn

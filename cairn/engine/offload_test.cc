// SPDX-License-Identifier: Apache-2.0
// Blocks that a policy moves out of the KV budget: where they lie changes no bit, and the budget holds what is left.
#include "cairn/cache/offload.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "cairn/engine/engine.h"
#include "cairn/testing/answers.h"

namespace cairn {
namespace {

struct Setting {
  std::string codec = "raw_f16";
  std::string policy = "quest+keep=0.25+unread=offload";
  OffloadPlace place{.folder = ::testing::TempDir(), .bytes = std::size_t{64} << 20};
  std::string arch = "llama";
  bool reuse = false;
  std::size_t budget = std::size_t{64} << 20;
};

Result<std::unique_ptr<Engine>> load(const Setting& setting) {
  return load_three_layers(setting.arch, {.threads = 2,
                                          .kv_budget_bytes = setting.budget,
                                          .codec = setting.codec,
                                          .policy = setting.policy,
                                          .reuse = setting.reuse,
                                          .offload = setting.place});
}

std::unique_ptr<Engine> make_engine(const Setting& setting) {
  auto engine = load(setting);
  EXPECT_TRUE(engine) << engine.error().message;
  return engine ? *std::move(engine) : nullptr;
}

void expect_same(const std::vector<Logits>& a, const std::vector<Logits>& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  EXPECT_TRUE(same_bits(a, b)) << what;
}

std::string without_offload(std::string policy) {
  return policy.substr(0, policy.find("+unread"));
}

TEST(Offload, ChangesNoBit) {
  const OffloadPlace memory{.folder = "", .bytes = std::size_t{64} << 20};
  for (const char* policy : {"quest", "sketch+keep=0.125", "sparf", "sparf+rest=mean", "actqkv", "recent"}) {
    for (const auto& [arch, codec] :
         {std::pair("llama", "raw_f16"), {"llama", "tok4+sinks=1"}, {"gemma3", "kivi2-g32"}}) {
      for (const OffloadPlace& place : {Setting().place, memory}) {
        const std::string what = std::string(policy) + " " + codec + " in " + place.folder;
        const auto plain = make_engine({.codec = codec, .policy = policy, .place = {}, .arch = arch});
        const auto moving = make_engine(
            {.codec = codec, .policy = std::string(policy) + "+unread=offload", .place = place, .arch = arch});
        Sequence one = plain->open({}), other = moving->open({});
        expect_same(answer(*moving, other, looping_text(700), 140), answer(*plain, one, looping_text(700), 140), what);
        expect_same(answer(*moving, other, looping_text(100, 7), 20), answer(*plain, one, looping_text(100, 7), 20),
                    what);
        const PolicyReport report = other.policy_report();
        EXPECT_GT(report.bytes_offloaded, 0u) << what;
        EXPECT_EQ(report.not_offloaded, 0u) << what;
        EXPECT_EQ(other.bytes_held() + report.bytes_offloaded, one.bytes_held()) << what;
        EXPECT_EQ(moving->cache().stats().bytes_offloaded, report.bytes_offloaded) << what;
        EXPECT_EQ(one.policy_report().boxes_read, report.boxes_read) << what;
      }
    }
  }
}

TEST(Offload, TheBudgetHoldsWhatIsLeft) {
  const auto roomy = make_engine({.policy = "quest+keep=0.25", .place = {}});
  Sequence whole = roomy->open({});
  const auto expected = answer(*roomy, whole, looping_text(2000), 100);
  const std::size_t budget = whole.bytes_held() / 3;
  const auto refused = make_engine({.policy = "quest+keep=0.25", .place = {}, .budget = budget});
  Sequence too_long = refused->open({});
  EXPECT_EQ(refused->prefill(too_long, looping_text(2000)).error().code, ErrorCode::kOutOfBudget);
  const auto moving = make_engine({.budget = budget});
  Sequence sequence = moving->open({});
  expect_same(answer(*moving, sequence, looping_text(2000), 100), expected, "in a third of the room");
  EXPECT_LE(moving->cache().stats().high_water, budget);
  EXPECT_LT(sequence.bytes_held(), whole.bytes_held() / 4);
}

TEST(Offload, CutsForksAndEndsGiveBackWhatLiesThere) {
  for (const char* codec : {"raw_f16", "tok4"}) {
    const auto plain = make_engine({.codec = codec, .policy = without_offload(Setting().policy), .place = {}});
    const auto moving = make_engine({.codec = codec});
    {
      Sequence one = plain->open({}), other = moving->open({});
      answer(*plain, one, looping_text(500), 80);
      answer(*moving, other, looping_text(500), 80);
      Sequence one_twin = one.fork(), twin = other.fork();
      EXPECT_EQ(moving->cache().stats().bytes_offloaded, other.policy_report().bytes_offloaded);  // shared
      for (const std::size_t size : {530u, 512u, 201u}) {
        ASSERT_TRUE(one.trim(size));
        ASSERT_TRUE(other.trim(size));
        EXPECT_EQ(other.bytes_held() + other.policy_report().bytes_offloaded, one.bytes_held());
        expect_same(answer(*moving, other, looping_text(90, size), 10), answer(*plain, one, looping_text(90, size), 10),
                    codec);
      }
      expect_same(answer(*moving, twin, looping_text(70), 70), answer(*plain, one_twin, looping_text(70), 70), codec);
      ASSERT_TRUE(other.trim(0));
      EXPECT_EQ(other.policy_report().bytes_offloaded, 0u);
    }
    EXPECT_EQ(moving->cache().stats().bytes_offloaded, 0u);
    EXPECT_EQ(moving->cache().stats().bytes_used, 0u);
  }
}

TEST(Offload, WhereThePlaceIsFullBlocksStayAndItIsSaid) {
  const auto plain = make_engine({.policy = without_offload(Setting().policy), .place = {}});
  Sequence one = plain->open({});
  const auto expected = answer(*plain, one, looping_text(900), 70);
  Setting setting;
  setting.place.bytes = one.bytes_held() / 4;
  const auto moving = make_engine(setting);
  Sequence other = moving->open({});
  expect_same(answer(*moving, other, looping_text(900), 70), expected, "full");
  const PolicyReport report = other.policy_report();
  EXPECT_GT(report.not_offloaded, 0u);
  EXPECT_GT(report.bytes_offloaded, 0u);
  EXPECT_LE(report.bytes_offloaded, setting.place.bytes);
  EXPECT_EQ(other.bytes_held() + report.bytes_offloaded, one.bytes_held());
  EXPECT_EQ(report.why_not_offloaded,
            setting.place.text() + ": " + std::to_string(setting.place.bytes) + " bytes are full");
}

// Either prompt fits both, but the first has filled the place.
TEST(Offload, ALackOfRoomNamesThePlaceThatIsFull) {
  Setting setting;
  const auto roomy = make_engine(setting);
  const PlannedBytes planned = roomy->planned_bytes(&*roomy->policy(), 1500, 0, 1500);
  setting.place.bytes = planned.beside;
  setting.budget = 2 * planned.whole;
  const auto engine = make_engine(setting);
  Sequence first = engine->open({}), sequence = engine->open({});
  ASSERT_TRUE(engine->prefill(first, looping_text(1500)));
  const auto logits = engine->prefill(sequence, looping_text(1500, 9));
  ASSERT_FALSE(logits);
  EXPECT_EQ(logits.error().code, ErrorCode::kOutOfBudget);
  const std::string why = "; full blocks could not move to " + sequence.policy_report().why_not_offloaded;
  EXPECT_TRUE(logits.error().message.ends_with(why)) << logits.error().message;
  EXPECT_NE(why.find(setting.place.folder), std::string::npos) << why;
}

// A place that others fill, and have left again: blocks that stayed move at the next block border.
TEST(Offload, BlocksThatStayedMoveLater) {
  const auto plain = make_engine({.policy = without_offload(Setting().policy), .place = {}});
  Sequence alone = plain->open({});
  const auto expected = answer(*plain, alone, looping_text(600), 140);
  Setting setting;
  setting.place.bytes = alone.bytes_held();
  const auto moving = make_engine(setting);
  Sequence second = moving->open({});
  {
    Sequence first = moving->open({});
    answer(*moving, first, looping_text(640, 9), 1);
    ASSERT_TRUE(moving->prefill(second, looping_text(600)));
    EXPECT_GT(second.policy_report().not_offloaded, 0u);
  }
  const std::size_t before = second.policy_report().bytes_offloaded;
  std::vector<Logits> rest;
  for (const TokenId id : looping_text(140, 11)) {
    const auto next = moving->decode(second, id);
    ASSERT_TRUE(next);
    rest.emplace_back(next->begin(), next->end());
  }
  expect_same(rest, {expected.begin() + 1, expected.end()}, "in company");
  EXPECT_GT(second.policy_report().bytes_offloaded, before + alone.bytes_held() / 4);
}

// What was published stays in memory as long as there is room, and a hit on it moves anew.
TEST(Offload, PrefixesAreFoundAllTheSame) {
  const auto moving = make_engine({.reuse = true});
  const auto prompt = looping_text(700);
  Sequence first = moving->open(prompt);
  const auto expected = answer(*moving, first, std::span(prompt).subspan(first.size()), 30);
  Sequence second = moving->open(prompt);
  EXPECT_EQ(second.reused_tokens(), 640u);
  EXPECT_EQ(second.bytes_held(), 0u);  // they have moved before the first pass
  expect_same(answer(*moving, second, std::span(prompt).subspan(second.size()), 30), expected, "hit");
}

TEST(Offload, NeedsAPlaceAndAPolicyThatReadsLess) {
  const auto nowhere = load({.place = {}});
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(nowhere.error().message.find("--offload"), std::string::npos);
  EXPECT_EQ(load({.place = {.folder = "/not/there", .bytes = std::size_t{64} << 20}}).error().code,
            ErrorCode::kNotFound);
  const auto small = load({.place = {.folder = "", .bytes = 100}});
  ASSERT_FALSE(small);
  EXPECT_EQ(small.error().code, ErrorCode::kOutOfBudget);
  EXPECT_NE(small.error().message.find("--offload-size"), std::string::npos);
  const auto no_place = make_engine({.policy = "", .place = {}});
  Sequence sequence = no_place->open({});
  EXPECT_EQ(sequence.set_policy(*parse_policy("quest+unread=offload")).error().code, ErrorCode::kUnsupported);
  EXPECT_FALSE(parse_policy("keydiff+unread=offload"));
  EXPECT_FALSE(parse_policy("quest+unread=away"));
  EXPECT_EQ(parse_policy("quest+unread=stay")->text, "quest");
  EXPECT_EQ(parse_policy("quest+unread=offload")->text, "quest+unread=offload");
}

}  // namespace
}  // namespace cairn

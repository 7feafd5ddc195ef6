// SPDX-License-Identifier: Apache-2.0
// What people write to name a policy: round trips over random parts, and each error line.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/policy/policy.h"
#include "cairn/policy/reader.h"
#include "cairn/policy/scorer.h"

namespace cairn {
namespace {

PolicySpec parsed(std::string_view text) {
  const Result<PolicySpec> spec = parse_policy(text);
  EXPECT_TRUE(spec.has_value()) << text << ": " << (spec ? "" : spec.error().message);
  return spec.value_or(PolicySpec{});
}

void expect_same(const PolicySpec& a, const PolicySpec& b) {
  EXPECT_EQ(a, b);
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.scorer, b.scorer);
  EXPECT_EQ(a.reader, b.reader);
  EXPECT_EQ(a.keep, b.keep);
  EXPECT_EQ(a.mass, b.mass);
  EXPECT_EQ(a.layer_pairs, b.layer_pairs);
  EXPECT_EQ(a.rest, b.rest);
  EXPECT_EQ(a.budget, b.budget);
  EXPECT_EQ(a.per_head, b.per_head);
  EXPECT_EQ(a.sinks, b.sinks);
  EXPECT_EQ(a.recent, b.recent);
  EXPECT_EQ(a.recent_share, b.recent_share);
  EXPECT_EQ(a.window, b.window);
  EXPECT_EQ(a.pool, b.pool);
  EXPECT_EQ(a.unit, b.unit);
  EXPECT_EQ(a.profile, b.profile);
  EXPECT_EQ(a.group, b.group);
  EXPECT_EQ(a.unit_by_best, b.unit_by_best);
  EXPECT_EQ(a.punctuation, b.punctuation);
  EXPECT_EQ(a.every, b.every);
  EXPECT_EQ(a.then_by_age, b.then_by_age);
  EXPECT_EQ(a.prompt_stays, b.prompt_stays);
}

TEST(ParsePolicy, EveryRowIsItsOwnName) {
  std::set<std::string_view> names;
  for (const NamedPolicy& row : policy_table()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    const PolicySpec spec = parsed(row.name);
    EXPECT_EQ(spec.name, row.name);
    EXPECT_EQ(spec.text, row.name);
    EXPECT_NE(spec.scorer == nullptr, spec.reader == nullptr);
    EXPECT_EQ(spec.reads_less(), spec.reader != nullptr);
    EXPECT_FALSE(row.summary.empty());
    EXPECT_TRUE(row.parts.name.empty() && row.parts.text.empty());
    const bool window = spec.reads_less() ? spec.reader->window : spec.scorer->needs.probes == Probes::kLast;
    EXPECT_EQ(spec.window > 0, window) << row.name;
  }
}

TEST(ParsePolicy, ScorersAndReadersHaveNamesOfTheirOwnAndAreUsed) {
  std::set<std::string_view> used, names;
  for (const NamedPolicy& row : policy_table()) used.insert(row.scorer.empty() ? row.reader : row.scorer);
  for (const Scorer& scorer : scorer_table()) {
    EXPECT_TRUE(names.insert(scorer.name).second);
    EXPECT_TRUE(used.contains(scorer.name)) << scorer.name;
    EXPECT_EQ(find_scorer(scorer.name).value(), &scorer);
  }
  names.clear();
  for (const Reader& reader : reader_table()) {
    EXPECT_TRUE(names.insert(reader.name).second);
    EXPECT_TRUE(used.contains(reader.name)) << reader.name;
    EXPECT_EQ(find_reader(reader.name).value(), &reader);
    EXPECT_EQ(reader.by == ReadBy::kBounds, reader.fold != nullptr);
    EXPECT_LE(reader.clusters, reader.by == ReadBy::kBounds);
    EXPECT_LE(reader.channels, reader.by == ReadBy::kKeys);
    EXPECT_LE(reader.refines, reader.by == ReadBy::kMeans);
  }
}

TEST(ParsePolicy, SetsEveryPart) {
  const PolicySpec spec = parsed(
      "snapkv+region=decode+every=128+unit=16+pool=7+window=32+recent=8+recent-share=0.25+sinks=2+heads=shared+"
      "budget=prefix+keep=0.125");
  EXPECT_EQ(spec.keep, 0.125);
  EXPECT_EQ(spec.budget, BudgetRule::kPrefix);
  EXPECT_FALSE(spec.per_head);
  EXPECT_EQ(spec.sinks, 2u);
  EXPECT_EQ(spec.recent, 8u);
  EXPECT_EQ(spec.recent_share, 0.25);
  EXPECT_EQ(spec.window, 32u);
  EXPECT_EQ(spec.pool, 7u);
  EXPECT_EQ(spec.unit, 16u);
  EXPECT_EQ(spec.every, 128u);
  EXPECT_TRUE(spec.prompt_stays);
  EXPECT_EQ(spec.text,
            "snapkv+keep=0.125+budget=prefix+heads=shared+sinks=2+recent=8+recent-share=0.25+window=32+pool=7+unit=16+"
            "every=128+region=decode");
}

TEST(ParsePolicy, LeavesOutWhatTheRowSaysAnyway) {
  EXPECT_EQ(parsed("snapkv+keep=0.25+pool=5+scorer=mass+recent=64").text, "snapkv");
  EXPECT_EQ(parsed("quest+keep=1.25e-1").text, "quest+keep=0.125");
  EXPECT_EQ(parsed("decode-evict+region=decode+every=128").text, "decode-evict");
  EXPECT_EQ(parsed("streamingllm+recent-share=-0").text, "streamingllm");
}

TEST(ParsePolicy, ReadingHasPartsOfItsOwn) {
  const PolicySpec spec = parsed("quest+layers=pairs+mass=0.9+keep=0.5");
  EXPECT_EQ(spec.keep, 0.5);
  EXPECT_EQ(spec.mass, 0.9);
  EXPECT_TRUE(spec.layer_pairs);
  EXPECT_EQ(spec.text, "quest+keep=0.5+mass=0.9+layers=pairs");
  EXPECT_TRUE(parsed("mpcache").layer_pairs);
  EXPECT_EQ(parsed("actqkv+window=8").window, 8u);
  EXPECT_EQ(parsed("actqkv+window=8").recent, 0u);
  EXPECT_EQ(parsed("double-p+mass=0.95").text, "double-p");
  EXPECT_EQ(parsed("mpcache+layers=own+mass=1").text, "mpcache+layers=own");
  EXPECT_EQ(parsed("sparf+rest=none+keep=0.5").text, "sparf+keep=0.5");
  EXPECT_EQ(parsed("sparf+rest=mean").text, "sparf+rest=mean");
  EXPECT_EQ(parsed("double-p+rest=boxes").rest, RestRule::kBoxes);
}

TEST(ParsePolicy, AWindowThatIsKeptIsKeptAtEveryLength) {
  EXPECT_EQ(parsed("snapkv+window=32").recent, 32u);
  EXPECT_EQ(parsed("snapkv+window=32").text, "snapkv+window=32");
  EXPECT_EQ(parsed("snapkv+window=32+recent=64").recent, 64u);
  EXPECT_EQ(parsed("snapkv+window=32+recent=0").recent, 0u);
  EXPECT_EQ(parsed("mpcache-static+window=32").recent, 0u);
}

TEST(ParsePolicy, ATaskStandsForParts) {
  EXPECT_EQ(parsed("windowkv+task=find").text, "windowkv");
  const PolicySpec gather = parsed("windowkv+task=gather");
  EXPECT_EQ(gather.text, "windowkv+window=16+unit-by=mean");
  EXPECT_EQ(gather.recent, 16u);
  EXPECT_FALSE(gather.unit_by_best);
  EXPECT_EQ(parsed("windowkv+window=48+task=gather").window, 48u);
  EXPECT_TRUE(parsed("windowkv+unit-by=best+task=gather").unit_by_best);
}

TEST(ParsePolicy, WhatHasNoUseThereIsLeftAlone) {
  EXPECT_FALSE(parsed("prefixkv+every=0").ages());
  EXPECT_FALSE(parsed("prefixkv+region=decode").ages());
  EXPECT_TRUE(parsed("prefixkv").ages());
  EXPECT_EQ(parsed("windowkv+unit=1").text, "windowkv+unit=1");
}

TEST(ParsePolicy, AnotherScorerBringsItsWindow) {
  EXPECT_EQ(parsed("keydiff+scorer=mass").window, 64u);
  EXPECT_EQ(parsed("keydiff+scorer=mass").text, "keydiff+scorer=mass");
  EXPECT_EQ(parsed("keydiff+window=16+scorer=peak").window, 16u);
  EXPECT_EQ(parsed("snapkv+scorer=keydiff").window, 0u);
  EXPECT_FALSE(parsed("snapkv+scorer=keydiff").sees_queries());
}

TEST(ParsePolicy, KnowsWhoSeesQueries) {
  for (const char* blind : {"streamingllm", "keydiff", "knorm", "lagkv", "random", "full", "decode-evict", "quest"}) {
    EXPECT_FALSE(parsed(blind).sees_queries()) << blind;
  }
  for (const char* seeing :
       {"snapkv", "tova", "h2o", "observed", "expected", "zip-salience", "prefixkv", "mpcache-static"}) {
    EXPECT_TRUE(parsed(seeing).sees_queries()) << seeing;
  }
}

template <class T>
std::string any_of(SeededRandom& random, const std::vector<T>& values) {
  return std::string(random.pick(values));
}

// Parts as people might write them, in any order; together they may still be wrong.
std::string random_text(SeededRandom& random) {
  std::string text(random.pick(policy_table()).name);
  const auto number = [&](int low, int high, int step) { return std::to_string(random.between(low, high) * step); };
  std::vector<std::string> parts = {
      "keep=" + std::to_string(random.unit()),
      "keep=0." + std::to_string(random.next()),
      "mass=0." + std::to_string(random.next()),
      "layers=" + any_of<std::string>(random, {"own", "pairs"}),
      "rest=" + any_of<std::string>(random, {"none", "mean", "boxes"}),
      "budget=" + any_of<std::string>(random, {"uniform", "pyramid", "prefix", "ada", "entropy", "slope"}),
      "group=" + number(1, 9, 1),
      "unit-by=" + any_of<std::string>(random, {"mean", "best"}),
      "task=" + any_of<std::string>(random, {"find", "gather"}),
      "punctuation=0." + std::to_string(random.next()),
      "then=" + any_of<std::string>(random, {"score", "age"}),
      "heads=" + any_of<std::string>(random, {"own", "shared"}),
      "sinks=" + number(0, 9, 1),
      "recent=" + number(0, 99, 1),
      "recent-share=0." + std::to_string(random.next()),
      "window=" + number(1, 99, 1),
      "pool=" + std::to_string(2 * random.between(0, 15) + 1),
      "unit=" + any_of<std::string>(random, {"1", "8", "16", "32", "64"}),
      "every=" + number(0, 9, 64),
      "region=" + any_of<std::string>(random, {"all", "decode"}),
      "scorer=" + std::string(random.pick(scorer_table()).name)};
  random.shuffle(parts);
  parts.resize(random.below(8));
  for (const std::string& part : parts) text += "+" + part;
  return text;
}

TEST(ParsePolicy, CanonicalTextMeansTheSame) {
  SeededRandom random(1, "parse");
  std::size_t valid = 0;
  for (int round = 0; round < 20000; ++round) {
    const std::string text = random_text(random);
    const Result<PolicySpec> first = parse_policy(text);
    if (!first) {
      EXPECT_EQ(first.error().message.find('\n'), std::string::npos);
      continue;
    }
    ++valid;
    const Result<PolicySpec> second = parse_policy(first->text);
    ASSERT_TRUE(second.has_value()) << text << " -> " << first->text << ": " << second.error().message;
    expect_same(*first, *second);
    if (HasFailure()) FAIL() << text << " -> " << first->text;
  }
  EXPECT_GT(valid, 2000u);
}

TEST(ParsePolicy, NeverCrashesOnRandomText) {
  SeededRandom random(2, "parse");
  const std::string_view letters = "+==keepquest0.1snapkvbudget\n\xff ";
  for (int round = 0; round < 20000; ++round) {
    std::string text = round % 2 == 0 ? "snapkv+" : "";
    for (std::size_t i = random.below(20); i > 0; --i) text += letters[random.below(letters.size())];
    const Result<PolicySpec> spec = parse_policy(text);
    if (spec) {
      EXPECT_EQ(parse_policy(spec->text).value(), *spec);
    }
  }
}

struct Refused {
  std::string text;
  ErrorCode code;
  std::string message;
};

TEST(ParsePolicy, RefusesWithOneLine) {
  const auto invalid = ErrorCode::kInvalidArgument;
  const std::string policies =
      "quest, mpcache, actqkv, sparf, double-p, sketch, oracle, recent, random-read, streamingllm, snapkv, pyramidkv, "
      "adakv, "
      "prefixkv, windowkv, tova, kvzip, "
      "keydiff, knorm, lagkv, expected, observed, zip-salience, zipcache, mpcache-static, h2o, decode-evict, random, "
      "full";
  const std::string parts =
      "scorer, keep, budget, profile, group, heads, sinks, recent, recent-share, window, pool, unit, unit-by, "
      "punctuation, chunk, every, then, region, demote";
  const std::string blind =
      "scorer, keep, budget, profile, group, heads, sinks, recent, recent-share, pool, unit, unit-by, "
      "punctuation, chunk, every, then, region, demote";
  const Refused cases[] = {
      {"", invalid, "no token policy ''; there are: " + policies},
      {"snap", invalid, "no token policy 'snap'; there are: " + policies},
      {"Quest+keep=1", invalid, "no token policy 'Quest'; there are: " + policies},
      {"snapkv+scorer=best", invalid,
       "no scorer 'best'; there are: recency, random, knorm, keydiff, lagkv, expected, mass, peak, replay, sum, "
       "observed, "
       "salience"},
      {"snapkv+quest", invalid, "two token policies at once, 'snapkv' and 'quest': choose one"},
      {"quest+keep=0.5+quest", invalid, "two token policies at once, 'quest' and 'quest': choose one"},
      {"snapkv+keep", invalid, "token policy 'snapkv': 'keep' is no part; write +PART=VALUE"},
      {"snapkv+", invalid, "token policy 'snapkv': '' is no part; write +PART=VALUE"},
      {"snapkv++keep=1", invalid, "token policy 'snapkv': '' is no part; write +PART=VALUE"},
      {"snapkv+kept=1", invalid, "token policy 'snapkv' has no part 'kept'; it has: " + parts},
      {"snapkv+=1", invalid, "token policy 'snapkv' has no part ''; it has: " + parts},
      {"quest+budget=ada", invalid, "token policy 'quest' has no part 'budget'; it has: keep, mass, layers, unread"},
      {"oracle+window=8", invalid,
       "token policy 'oracle' has no part 'window'; it has: keep, mass, layers, unread, rest"},
      {"quest+rest=mean", invalid, "token policy 'quest' has no part 'rest'; it has: keep, mass, layers, unread"},
      {"recent+rest=mean", invalid, "token policy 'recent' has no part 'rest'; it has: keep, unread"},
      {"actqkv+rest=boxes", invalid,
       "token policy 'actqkv' has no part 'rest'; it has: keep, mass, layers, unread, window"},
      {"keydiff+rest=mean", invalid, "token policy 'keydiff' has no part 'rest'; it has: " + blind},
      {"sparf+rest=median", invalid, "token policy 'sparf': 'rest' is none, mean or boxes, not 'median'"},
      {"sparf+layers=pairs+rest=mean", invalid,
       "token policy 'sparf': rest= needs what the queries of each layer think of its tokens, and under layers=pairs "
       "every second layer does not ask: choose one"},
      {"quest+scorer=mass", invalid, "token policy 'quest' has no part 'scorer'; it has: keep, mass, layers, unread"},
      {"recent+mass=0.5", invalid, "token policy 'recent' has no part 'mass'; it has: keep, unread"},
      {"keydiff+layers=pairs", invalid, "token policy 'keydiff' has no part 'layers'; it has: " + blind},
      {"quest+mass=0", invalid, "token policy 'quest': 'mass' is a number above 0 and at most 1, not '0'"},
      {"quest+layers=2", invalid, "token policy 'quest': 'layers' is own or pairs, not '2'"},
      {"full+keep=0.5", invalid, "token policy 'full' has no part 'keep'; it has: none"},
      {"knorm+window=8", invalid,
       "token policy 'knorm' with the scorer 'knorm' has no part 'window'; it has: " + blind},
      {"snapkv+window=8+scorer=sum", invalid,
       "token policy 'snapkv' with the scorer 'sum' has no part 'window'; it has: " + blind},
      {"snapkv+keep=0.5+keep=0.5", invalid, "token policy 'snapkv': 'keep' is given twice"},
      {"snapkv+scorer=sum+scorer=sum", invalid, "token policy 'snapkv': 'scorer' is given twice"},
      {"snapkv+region=decode", invalid,
       "token policy 'snapkv': region=decode needs every=N with a multiple of 64 above 0, since nothing is decoded as "
       "the prompt ends"},
      {"decode-evict+every=0", invalid,
       "token policy 'decode-evict': region=decode needs every=N with a multiple of 64 above 0, since nothing is "
       "decoded as the prompt ends"},
      {"adakv+heads=shared", invalid,
       "token policy 'adakv': budget=ada divides a layer's budget among its KV heads and needs heads=own"},
      {"tova+budget=ada", invalid,
       "token policy 'tova': budget=ada divides a layer's budget among its KV heads and needs heads=own"},
      {"windowkv+task=look", invalid, "token policy 'windowkv': 'task' is find or gather, not 'look'"},
      {"snapkv+unit-by=best", invalid, "token policy 'snapkv': unit-by=best needs a unit of 8 tokens or more"},
      {"snapkv+then=age", invalid,
       "token policy 'snapkv': then=age thins out what the prompt left as more is decoded, so it needs every=N with a "
       "multiple of 64 above 0, and region=all"},
      {"snapkv+profile=x.toml+budget=uniform", invalid,
       "token policy 'snapkv': a profile gives the budgets, and so does budget=: choose one"},
      {"snapkv+budget=prefix+profile=x.toml", invalid,
       "token policy 'snapkv': a profile gives the budgets, and so does budget=: choose one"},
  };
  for (const Refused& refused : cases) {
    const Result<PolicySpec> spec = parse_policy(refused.text);
    ASSERT_FALSE(spec.has_value()) << refused.text;
    EXPECT_EQ(spec.error().code, refused.code) << refused.text;
    EXPECT_EQ(spec.error().message, refused.message);
  }
}

TEST(ParsePolicy, RefusesValues) {
  struct Values {
    std::string part, possible;
    std::vector<std::string> wrong;
  };
  const Values cases[] = {
      {"keep", "a number above 0 and at most 1", {"0", "-0.5", "1.01", "nan", "inf", "", "0.5x", "half", " 1", "1e"}},
      {"budget", "uniform, pyramid, prefix, ada, entropy, global or slope", {"", "even", "Ada", "uniform,ada"}},
      {"heads", "own or shared", {"", "all", "2"}},
      {"sinks", "a whole number from 0 to 1048576", {"", "-1", "1.5", "1048577", "1e300", "nan"}},
      {"recent", "a whole number from 0 to 1048576", {"", "-1", "0.5"}},
      {"recent-share", "a number from 0 to 1", {"", "-0.1", "1.1", "nan"}},
      {"window", "a whole number from 1 to 1024", {"", "0", "1025", "1.5"}},
      {"pool", "an odd number from 1 to 31", {"", "0", "2", "30", "33", "1.5"}},
      {"unit", "1, 8, 16, 32 or 64", {"", "0", "2", "128", "8.0", "08"}},
      {"unit-by", "mean or best", {"", "max"}},
      {"group", "a whole number from 1 to 64", {"", "0", "65", "1.5"}},
      {"punctuation", "a number from 0 to 1", {"", "-0.1", "1.1", "nan"}},
      {"then", "score or age", {"", "oldest"}},
      {"profile", "the name of a file of 'cairn tune budgets', which ends in .toml", {"", "budgets", "a.toml.txt"}},
      {"every", "a multiple of 64 from 0 to 1048576", {"", "1", "63", "65", "100", "-64"}},
      {"region", "all or decode", {"", "prompt"}},
  };
  for (const Values& values : cases) {
    for (const std::string& wrong : values.wrong) {
      const Result<PolicySpec> spec = parse_policy("snapkv+" + values.part + "=" + wrong);
      ASSERT_FALSE(spec.has_value()) << values.part << "=" << wrong;
      EXPECT_EQ(spec.error().code, ErrorCode::kInvalidArgument);
      EXPECT_EQ(spec.error().message,
                "token policy 'snapkv': '" + values.part + "' is " + values.possible + ", not '" + wrong + "'");
    }
  }
}

TEST(ParsePolicy, TakesValuesAtTheirBounds) {
  for (const char* text : {"snapkv+keep=1", "snapkv+keep=1e-9", "snapkv+sinks=0", "snapkv+sinks=1048576",
                           "snapkv+window=1", "snapkv+window=1024", "snapkv+pool=1", "snapkv+pool=31", "snapkv+unit=64",
                           "snapkv+every=1048576", "snapkv+recent-share=1", "quest+keep=1"}) {
    parsed(text);
  }
}

}  // namespace
}  // namespace cairn

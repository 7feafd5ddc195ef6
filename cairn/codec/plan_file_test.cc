// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/plan_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <random>

#include "cairn/base/file.h"
#include "cairn/testing/any_text.h"

namespace cairn {
namespace {

using ::testing::HasSubstr;

const std::string kDigits = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const std::string kSmall = "cairn_plan = 1\nkeys = ['f16', 'f16']\nvalues = ['f16', 'f16']\n";

Digest counting() {
  Digest digest;
  for (std::size_t i = 0; i < 32; ++i) digest.bytes[i] = static_cast<std::uint8_t>(i);
  return digest;
}

PlanFile full_plan() {
  PlanFile plan;
  plan.model = counting();
  plan.keys = {"f16", "kivi4", "kivi2", "kivi2", "tok4"};
  plan.values = {"f16", "kivi4", "kivi4", "kivi2", "pq4"};
  plan.sink_blocks = 1;
  plan.recent_blocks = 2;
  plan.exact_prefill = true;
  plan.codebooks = {"books/demo \"1\".cbk", counting()};
  plan.found = {.method = "dynamic programming under a byte cap",
                .calibration = "12 prompts of 512 tokens, r\xC3\xA9sum\xC3\xA9.txt",
                .command = "cairn tune model.gguf --bits 3.25 --out 'C:\\plan.toml'",
                .date = "2026-11-23",
                .bytes_per_token = 1664,
                .bits_per_value = 3.25,
                .predicted_error = 0.1 + 0.2,
                .measured_kl = -1e-12};
  return plan;
}

Error error_of(const std::string& text) {
  const auto plan = parse_plan_file(text);
  if (plan) return {ErrorCode::kInternal, "parsed without an error"};
  EXPECT_EQ(plan.error().message.find('\n'), std::string::npos) << "more than one line: " << plan.error().message;
  EXPECT_FALSE(plan.error().message.empty());
  return plan.error();
}

void expect_refused(const std::string& text, const std::string& part) {
  const Error error = error_of(text);
  EXPECT_EQ(error_code_name(error.code), error_code_name(ErrorCode::kInvalidArgument)) << error.message;
  EXPECT_THAT(error.message, HasSubstr(part)) << "of: " << text;
}

std::string repeated(const std::string& part, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += part;
  return text;
}

TEST(PlanFile, LooksLikeThis) {
  EXPECT_EQ(*render_plan_file(full_plan()),
            R"(# How a model's keys and values are stored: use it with --codec FILE.
cairn_plan = 1
model = ")" + kDigits +
                R"("  # digest of the weights that it was made for

sinks = 1  # first blocks of a sequence that stay unencoded
recent = 2  # full blocks before the open one that stay unencoded
prefill = "exact"  # what prompts attend to; "exact" or "encoded"

keys = [
  "f16", "kivi4", "kivi2", "kivi2",  # layers 0 to 3
  "tok4",  # layer 4
]
values = [
  "f16", "kivi4", "kivi4", "kivi2",  # layers 0 to 3
  "pq4",  # layer 4
]

[codebooks]
file = "books/demo \"1\".cbk"  # beside this file
digest = ")" + kDigits +
                R"("

# How it was found. Nothing is decided by what follows.
[found]
method = "dynamic programming under a byte cap"
bytes_per_token = 1664  # K and V of all layers, metadata included
bits_per_value = 3.25  # mean, metadata included
predicted_error = 0.30000000000000004  # sum over layers and sides
measured_kl = -1e-12  # mean divergence from the exact cache, end to end
calibration = "12 prompts of 512 tokens, résumé.txt"
command = "cairn tune model.gguf --bits 3.25 --out 'C:\\plan.toml'"
date = "2026-11-23"
)");
}

TEST(PlanFile, ComesBackAsItWas) {
  EXPECT_EQ(*parse_plan_file(*render_plan_file(full_plan())), full_plan());
  PlanFile least;
  least.keys = {"a"};
  least.values = {"b"};
  EXPECT_EQ(*parse_plan_file(*render_plan_file(least)), least);
  least.codebooks = {"b", std::nullopt};
  EXPECT_EQ(*parse_plan_file(*render_plan_file(least)), least);
  const PlanFile small = *parse_plan_file(kSmall);
  EXPECT_EQ(small.keys, (std::vector<std::string>{"f16", "f16"}));
  EXPECT_FALSE(small.model || small.codebooks || small.exact_prefill);
}

// Whatever a command line or a path holds, the plan can be written, and reading and writing it again changes nothing.
TEST(PlanFile, AnyOriginCanBeWritten) {
  ASSERT_TRUE(rc::check([] {
    PlanFile plan = full_plan();
    plan.found.method = *testing::any_text();
    plan.found.command = repeated(*testing::any_text(), *rc::gen::element<std::size_t>(1, 1000));
    plan.found.predicted_error = *rc::gen::element(1e-320, 1e15, 1e22, 123456789012345680000.0, 5e300, -0.0, 1.0 / 3);
    const auto text = render_plan_file(plan);
    RC_ASSERT(text.has_value());
    const auto again = parse_plan_file(*text);
    if (!again) RC_FAIL(again.error().message);
    RC_ASSERT(again->found.predicted_error == plan.found.predicted_error);
    RC_ASSERT(again->keys == plan.keys && again->codebooks == plan.codebooks);
    RC_ASSERT(*render_plan_file(*again) == *text);
  }));
}

TEST(PlanFile, NotAPlan) {
  expect_refused("", "'cairn_plan = 1' is missing");
  expect_refused("[package]\nname = 'x'\n", "'cairn_plan = 1' is missing");
  EXPECT_EQ(error_of("cairn_plan = 2\nwhatever = 3\n").code, ErrorCode::kUnsupported);
  expect_refused("cairn_plan = '1'\n", "line 1: 'cairn_plan' must be a whole number, not text");
  expect_refused("GGUF\x03", "line 1:");
}

TEST(PlanFile, KeysMissingAndUnknown) {
  expect_refused("cairn_plan = 1\nvalues = ['f16']\n", "the list 'keys' is missing");
  expect_refused("cairn_plan = 1\nkeys = ['f16']\n", "the list 'values' is missing");
  expect_refused(kSmall + "sink = 1\n", "line 4: unknown key 'sink'; choose among: cairn_plan, model, sinks,");
  expect_refused(kSmall + "[fuond]\nmethod = 'x'\n", "line 4: unknown key 'fuond'");
  expect_refused(kSmall + "[found]\n\nmehtod = 'x'\n", "line 6: unknown key 'mehtod'");
  expect_refused(kSmall + "[codebooks]\nfile = 'x'\nsize = 3\n", "line 6: unknown key 'size'");
  expect_refused(kSmall + "[codebooks]\n", "line 4: [codebooks] names no file");
  expect_refused(kSmall + "[codebooks]\nfile = ''\n", "names no file");
  expect_refused(kSmall + "\"\\u0007\\n" + repeated("k", 100) + "\" = 1\n", "unknown key '  kkk");
  expect_refused(kSmall + "keys = ['f16']\n", "line 4:");
  expect_refused(kSmall + "[found]\n[found]\n", "line 5:");
}

TEST(PlanFile, WrongTypes) {
  expect_refused("cairn_plan = 1\nkeys = 'f16'\nvalues = ['f16']\n",
                 "line 2: 'keys' must be a list of codecs, one for each layer, not text");
  expect_refused("cairn_plan = 1\nkeys = ['f16',\n 4]\nvalues = ['f16']\n",
                 "line 3: 'keys' must be a list of names in quotes, not a whole number");
  expect_refused("cairn_plan = 1\nkeys = [['f16']]\nvalues = ['f16']\n", "not a list");
  for (const std::string wrong : {"'1'", "1.0", "true", "[1]"}) {
    expect_refused(kSmall + "sinks = " + wrong, "line 4: 'sinks' must be a whole number");
  }
  for (const std::string wrong : {"1", "0.5", "false", "['a']"}) {
    expect_refused(kSmall + "prefill = " + wrong, "line 4: 'prefill' must be text in quotes");
    expect_refused(kSmall + "[found]\ndate = " + wrong, "line 5: 'date' must be text in quotes");
  }
  for (const std::string wrong : {"2026-11-23", "2026-11-23T07:32:00Z", "10a---d--e 1", "1abe-fe-00 1"}) {
    expect_refused(kSmall + "[found]\ndate = " + wrong, "line 5: this is no number; dates and times belong in quotes");
  }
  expect_refused(kSmall + "[found]\ndate = 07:32:00", "line 5: ':' has no place outside of quotes");
  expect_refused(kSmall + "[found]\nmeasured_kl = '0.1'", "'measured_kl' must be a number, not text");
  expect_refused(kSmall + "found = 1", "'found' must be a table, not a whole number");
  expect_refused(kSmall + "[[found]]\nmethod = 'x'", "line 4: what begins with '[' must be a table as [found]");
}

TEST(PlanFile, WrongValues) {
  expect_refused(kSmall + "sinks = -1", "line 4: 'sinks' must be 0 to 1048576, not -1");
  expect_refused(kSmall + "recent = 1048577", "'recent' must be 0 to 1048576, not 1048577");
  expect_refused(kSmall + "recent = 99999999999999999999", "line 4:");
  expect_refused(kSmall + "prefill = 'raw'", "line 4: 'prefill' must be 'exact' or 'encoded', not 'raw'");
  for (const std::string& wrong :
       {std::string("12"), kDigits + "0", "X" + kDigits.substr(1), "A" + kDigits.substr(1)}) {
    expect_refused(kSmall + "model = '" + wrong + "'", "line 4: 'model' must be 64 hexadecimal digits");
    expect_refused(kSmall + "[codebooks]\nfile = 'x'\ndigest = '" + wrong + "'", "line 6: 'digest' must be 64");
  }
  for (const std::string wrong : {"nan", "inf", "-inf"}) {
    expect_refused(kSmall + "[found]\npredicted_error = " + wrong, "'predicted_error' must be a finite number");
  }
  expect_refused(kSmall + "[found]\nbytes_per_token = 9007199254740993", "that a double can hold");
  expect_refused(kSmall + "[found]\ncommand = '" + repeated("x", 4097) + "'", "'command' is too long");
  expect_refused(kSmall + "[found]\ncommand = \"two\\nlines\"", "characters that do not print");
  expect_refused("cairn_plan = 1\nkeys = ['f16', 'f16']\nvalues = ['f16']\n", "'keys' has 2 layers and 'values' 1");
  expect_refused("cairn_plan = 1\nkeys = []\nvalues = []\n", "line 2: 'keys' has 0 layers");
  expect_refused("cairn_plan = 1\nkeys = [" + repeated("'f16',", 4097) + "]\nvalues = ['f16']\n", "4097 layers");
  for (const std::string& wrong : {std::string(), std::string("F16"), std::string("a b"), repeated("x", 65)}) {
    expect_refused("cairn_plan = 1\nkeys = ['" + wrong + "']\nvalues = ['f16']\n", "cannot be the name of a codec");
  }
}

TEST(PlanFile, WhatIsNoToml) {
  expect_refused("cairn_plan = 1\nkeys = [", "line 2:");
  expect_refused("cairn_plan = 1\nkeys = ['f16'\nvalues = ['f16']\n", "line 3:");
  expect_refused("cairn_plan = 1\nsinks = \n", "line 2:");
  expect_refused("cairn_plan = 1\nmodel = \"open\n\"\n", "line 2: the text in quotes does not end on its line");
  expect_refused("cairn_plan = 1\nmodel = \"open\\\"\n", "line 2: the text in quotes does not end on its line");
  expect_refused("cairn_plan = 1\n# \xFF\n", "line 2: the text is not UTF-8");
  expect_refused("cairn_plan = 1\n[found]\ncommand = '\xC3'\n", "line 3: the text is not UTF-8");
  expect_refused(std::string("cairn_plan = 1\n\0", 16), "line 2: ' ' has no place");
  for (const std::string before : {"1", "1b1[", "-1.5e3=", "[+0x1", "[1,2["}) {
    expect_refused("cairn_plan = 1\nmodel = " + before + "'\u0248'\n", "line 2: a number must end");
  }
  for (const std::string before : {"inf", "'x'", "x", "]", "[[", "[x="}) {
    expect_refused("cairn_plan = 1\nmodel = " + before + "'\u0248'\n", "line 2:");
  }
  expect_refused("cairn_plan = 1\nm\u00F6del = 'x'\n", "line 2: '\u00F6' has no place outside of quotes");
  EXPECT_TRUE(parse_plan_file("# r\u00E9sum\u00E9: {}\n" + kSmall + "[found]\r\nmethod = \"\u00E9 \\u00e9\"\r\n"));
  expect_refused("cairn_plan = 1\r[found]\n", "line 1:");
  for (const std::string& nonsense :
       std::vector<std::string>{"[", "[ =", "[]", "[[a]", "[a", "[a..b]", "[a] b", "=", "a", "a.", "a =", "]"}) {
    expect_refused("cairn_plan = 1\n" + nonsense, "line 2:");
    expect_refused("cairn_plan = 1\n" + nonsense + "\n", "line 2:");
  }
  EXPECT_TRUE(parse_plan_file("\xEF\xBB\xBF" + kSmall)) << "a byte order mark is harmless";
}

// Small texts that would be large trees, and lists deeper than a stack.
TEST(PlanFile, AbsurdSizes) {
  expect_refused(repeated("#", (1 << 20) + 1), "far too long");
  expect_refused(repeated("a.", 500'000) + "a = 1", "line 1: there are too many points");
  expect_refused("[" + repeated("a.", 500'000) + "a]", "line 1: there are too many points");
  expect_refused("a = " + repeated("{a = ", 1000) + "1" + repeated("}", 1000),
                 "line 1: '{' has no place outside of quotes");
  expect_refused("keys = " + repeated("[", 1'000'000), "line 1:");
  expect_refused("keys = " + repeated("[\n", 500'000), "line ");
  for (const std::string part : {"+", "1", "1,", "1 ", "a", "[1", "\\", "= "}) {
    expect_refused("keys = " + repeated(part, 1'000'000 / part.size()), "line 1:");
  }
  // Quotes that would hide what follows from the check of lines, were texts allowed to go on.
  expect_refused("a = [ \"\"\" \"\n\"\"\", {" + repeated("a.", 1000) + "a=['\"']}, '\"' ]", "texts over several lines");
  EXPECT_TRUE(parse_plan_file(
      kSmall + "[found]\ncommand = \"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s{}\" # {....................}\n"));
}

// Most of what comes out is no plan; what is one can be written and read again.
TEST(PlanFile, MutationsAreReadOrRefused) {
  std::mt19937 random(1);
  const std::string whole = *render_plan_file(full_plan());
  const std::string alphabet = "\"'\\[]{}=.,#\n\r\t -+_eE019aXn\xC3\xFF";
  for (int round = 0; round < 5000; ++round) {
    std::string text = whole;
    for (unsigned edits = random() % 4 + 1; edits > 0; --edits) {
      const std::size_t at = random() % text.size();
      switch (random() % 4) {
        case 0: text[at] = alphabet[random() % alphabet.size()]; break;
        case 1: text.insert(at, 1, alphabet[random() % alphabet.size()]); break;
        case 2: text.erase(at, random() % 20 + 1); break;
        default: text.insert(at, text.substr(random() % text.size(), random() % 40)); break;
      }
    }
    const auto plan = parse_plan_file(text);
    if (!plan) {
      ASSERT_EQ(plan.error().message.find('\n'), std::string::npos);
      continue;
    }
    ASSERT_EQ(*parse_plan_file(*render_plan_file(*plan)), *plan) << text;
  }
}

TEST(PlanFile, TruncationsAreReadOrRefused) {
  const std::string whole = *render_plan_file(full_plan());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string part = whole.substr(0, size);
    const auto plan = parse_plan_file(part);
    EXPECT_TRUE(!plan || plan->keys == full_plan().keys) << part;
  }
}

TEST(PlanFile, RenderRefusesWhatCouldNotBeRead) {
  const auto refused = [](auto change) {
    PlanFile plan = full_plan();
    change(plan);
    const auto text = render_plan_file(plan);
    return !text && text.error().code == ErrorCode::kInvalidArgument;
  };
  EXPECT_FALSE(refused([](PlanFile&) {}));
  EXPECT_TRUE(refused([](PlanFile& plan) { plan.keys.pop_back(); }));
  EXPECT_TRUE(refused([](PlanFile& plan) { plan.keys.clear(), plan.values.clear(); }));
  EXPECT_TRUE(refused([](PlanFile& plan) { plan.keys[0] = "a\"b"; }));
  EXPECT_TRUE(refused([](PlanFile& plan) { plan.values[4] = ""; }));
  EXPECT_TRUE(refused([](PlanFile& plan) { plan.sink_blocks = (1 << 20) + 1; }));
  EXPECT_TRUE(refused([](PlanFile& plan) { plan.codebooks->path = ""; }));
  EXPECT_TRUE(refused([](PlanFile& plan) { plan.codebooks->path = "a\nb"; }));
  EXPECT_TRUE(refused([](PlanFile& plan) { plan.codebooks->path = "\xFF"; }));
  EXPECT_TRUE(refused([](PlanFile& plan) { plan.found.measured_kl = std::nan(""); }));
  EXPECT_TRUE(refused([](PlanFile& plan) { plan.found.bits_per_value = HUGE_VAL; }));
}

TEST(PlanFile, Files) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("cairn-plan-" + std::to_string(::getpid()) + ".toml")).string();
  EXPECT_EQ(read_plan_file(path).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(write_plan_file(path, full_plan()));
  EXPECT_EQ(*read_plan_file(path), full_plan());
  ASSERT_TRUE(write_file(path, "cairn_plan = 1\nsinks = x\n"));
  EXPECT_THAT(read_plan_file(path).error().message, HasSubstr("'" + path + "': line 2:"));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace cairn

// SPDX-License-Identifier: Apache-2.0
// Templates that loop for ever, nest without end or grow without bound: one clear error each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "cairn/text/jinja/json.h"
#include "cairn/text/jinja/template.h"

namespace cairn::jinja {
namespace {

using ::testing::HasSubstr;

std::string refusal(const std::string& source, const Limits& limits = {}) {
  std::string message = "none";
  // On a thread with the stack of a server's: the deepest nesting must fit it.
  std::thread([&] {
    const auto parsed = Template::parse(source, limits);
    if (!parsed) {
      message = parsed.error().message;
    } else if (const auto text = parsed->render(Dict(), {.limits = limits}); !text) {
      message = text.error().message;
    }
  }).join();
  return message;
}

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

TEST(TemplateLimits, Steps) {
  const std::string loops =
      "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = 1 %}{% endfor %}{% endfor %}";
  EXPECT_THAT(refusal(loops, {.max_steps = 100'000}), HasSubstr("more than 100000 steps"));
  // Lists of 2^60 items that share them, none the same as in the other.
  const std::string shared =
      "{% set n = namespace(a=(), b=()) %}{% for i in range(60) %}{% set n.a = (n.a, n.a) %}"
      "{% set n.b = (n.b, n.b) %}{% endfor %}";
  for (const char* compared : {"{{ n.a == n.b }}", "{{ n.a in [n.b] }}", "{{ n.a < n.b }}", "{{ [n.a].count(n.b) }}"}) {
    EXPECT_THAT(refusal(shared + compared, {.max_steps = 100'000}), HasSubstr("more than 100000 steps")) << compared;
  }
  EXPECT_THAT(refusal(shared + "{{ {n.a: 1} }}"), HasSubstr("unhashable"));
  EXPECT_THAT(refusal(shared + "{{ [n.a, n.b] | unique | list }}"), HasSubstr("unhashable"));
  EXPECT_THAT(refusal("{{ range(9999) | map('string') | map('upper') | list }}", {.max_steps = 9'000}),
              HasSubstr("steps"));
}

// What one step reads counts by its size: no loop over a long text goes on for hours.
TEST(TemplateLimits, StepsOfLongTextsAndLists) {
  const std::string setup =
      "{% set a = 'a' * 1000000 %}{% set b = 'a' * 1000000 %}{% set e = '\u00e9' * 500000 %}"
      "{% set ones = '1' * 1000000 %}{% set d = {a: 1} %}"
      "{% set l = range(100000) | list %}{% set m = range(100000) | list %}{% set t = 'a' * 500000 + 'b' %}";
  for (const char* looped : {"a.count('b')",
                             "a.find(t)",
                             "a.rfind(t)",
                             "t in a",
                             "a is upper",
                             "'b' in a",
                             "e | length",
                             "e[-1]",
                             "e[1:2]",
                             "e.isalpha()",
                             "a.startswith(b)",
                             "a.endswith((b, b))",
                             "d[a]",
                             "d.get(a)",
                             "a in d",
                             "d[a] is defined",
                             "a == b",
                             "a < b",
                             "a is eq(b)",
                             "[a] == [b]",
                             "[a] is lt([b])",
                             "l == m",
                             "l is eq(m)",
                             "-1 in l",
                             "l.count(-1)",
                             "{range(90000): 1}",
                             "ones | float",
                             "a is string",
                             "a | wordcount",
                             "[a, b] | max"}) {
    const std::string template_text =
        setup + "{% for i in range(100000) %}{% if " + looped + " %}{% endif %}{% endfor %}";
    EXPECT_THAT(refusal(template_text, {.max_steps = 200'000, .max_bytes = std::size_t{64} << 30}),
                HasSubstr("more than 200000 steps"))
        << looped;
  }
}

TEST(TemplateLimits, SearchesTakeLinearTime) {
  const std::string setup =
      "{% set a = 'a' * 1000000 %}{% set t = 'a' * 500000 + 'b' %}{% set u = 'b' + 'a' * 500000 %}";
  EXPECT_EQ(refusal(setup + "{{ t in a }}{{ a.find(t) }}{{ a.rfind(u) }}{{ a.count(t) }}{{ a.replace(t, '') | length }}"
                            "{{ a.split(t) | length }}{{ a.rsplit(u) | length }}{{ (a | replace(t, '')) | length }}"
                            "{{ a.partition(t) | length }}{{ a.rpartition(u) | length }}"
                            "{{ a.strip('b' * 500000 + 'a') | length }}"),
            "none");
  EXPECT_THAT(refusal("{{ dict(range(100000) | list | batch(2)) | length }}", {.max_steps = 2'000'000}),
              HasSubstr("steps"));
}

TEST(TemplateLimits, Bytes) {
  const Limits limits{.max_bytes = 1 << 20, .max_output_bytes = 1000};
  EXPECT_THAT(refusal("{{ 'x' * 1000000000 }}", limits), HasSubstr("more than 1048576 bytes"));
  EXPECT_THAT(refusal("{{ [1] * 9223372036854775807 }}", limits), HasSubstr("bytes"));
  EXPECT_THAT(
      refusal("{% set n = namespace(x='xxxxxxxxxx') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
              limits),
      HasSubstr("bytes"));
  EXPECT_THAT(refusal("{{ 'aaaaaaaaaa' | replace('a', 'b' * 100000) }}", limits), HasSubstr("bytes"));
  EXPECT_THAT(refusal("{{ 'a'.ljust(1000000000) }}", limits), HasSubstr("bytes"));
  EXPECT_THAT(refusal("{% for i in range(1001) %}x{% endfor %}", limits),
              HasSubstr("its output has more than 1000 bytes"));
  EXPECT_THAT(refusal(std::string(101, 'x'), {.max_template_bytes = 100}), HasSubstr("more than 100 bytes"));
}

TEST(TemplateLimits, Depth) {
  EXPECT_THAT(refusal("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), HasSubstr("nests deeper than 400"));
  EXPECT_THAT(refusal("{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}"),
              HasSubstr("nests deeper than 200"));
  EXPECT_THAT(refusal("{{ " + repeated("[", 5000) + repeated("]", 5000) + " }}"), HasSubstr("nests deeper than 200"));
  EXPECT_THAT(refusal("{{ " + repeated("-", 5000) + "1 }}"), HasSubstr("nests deeper than 200"));
  EXPECT_THAT(refusal("{{ " + repeated("not ", 5000) + "1 }}"), HasSubstr("nests deeper than 200"));
  EXPECT_THAT(refusal("{{ 1" + repeated(" + 1", 5000) + " }}"), HasSubstr("nests deeper than 200"));
  EXPECT_THAT(refusal("{{ x" + repeated(".x", 5000) + " }}"), HasSubstr("nests deeper than 200"));
  EXPECT_THAT(refusal(repeated("{% if 1 %}", 5000) + repeated("{% endif %}", 5000)),
              HasSubstr("nests deeper than 200"));
  EXPECT_THAT(refusal("{{ 1" + repeated(" if 1 else 1", 5000) + " }}"), HasSubstr("nests deeper than 200"));
}

TEST(TemplateLimits, ListsWithinLists) {
  EXPECT_THAT(
      refusal("{% set n = namespace(x=[]) %}{% for i in range(999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}"),
      HasSubstr("a list or dict nests deeper than 100"));
  EXPECT_THAT(refusal("{% set n = namespace() %}{% set n.x = [n] %}{{ n }}"), HasSubstr("nests deeper than 400"));
  EXPECT_FALSE(read_json(repeated("[", 5000)));
}

TEST(TemplateLimits, WhatOutlivesItsBlockIsNotReached) {
  EXPECT_EQ(refusal("{% set n = namespace() %}{% for i in [1, 2] %}{% set n.l = loop %}{% endfor %}{{ n.l.index }}"
                    "{{ n.l.previtem }}{{ n.l.nextitem }}"),
            "none");
  EXPECT_THAT(
      refusal("{% set n = namespace() %}{% for i in [1] recursive %}{% set n.l = loop %}{% endfor %}{{ n.l([1]) }}"),
      HasSubstr("not marked as recursive"));
  EXPECT_THAT(refusal("{% set n = namespace() %}{% for i in [1] %}{% macro m() %}{{ i }}{% endmacro %}{% set n.m = m %}"
                      "{% endfor %}{{ n.m() }}"),
              HasSubstr("after its block has ended"));
}

}  // namespace
}  // namespace cairn::jinja

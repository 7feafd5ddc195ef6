// SPDX-License-Identifier: Apache-2.0
// What each construct gives; tools/chat_template_test.py compares far more of it with Python's jinja2.
#include "cairn/text/jinja/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cairn/text/jinja/json.h"

namespace cairn::jinja {
namespace {

constexpr std::string_view kContext = R"({"a": [3, 1, 2], "d": {"x": 1, "y": [1, 2.5, null, true]}, "s": "Hello World",
  "n": null, "i": 7, "e": [], "u": "ñ日x", "rows": [{"n": "b", "v": 2}, {"n": "A", "v": 1}, {"n": "b"}]})";

Result<Text> render(std::string_view source, const RenderOptions& options = {}) {
  CAIRN_TRY(const Template parsed, Template::parse(source));
  return parsed.render(*read_json(kContext)->dict(), options);
}

struct Case {
  const char* source;
  const char* expected;
};

void expect_all(std::initializer_list<Case> cases) {
  for (const Case& each : cases) {
    const auto text = render(each.source);
    EXPECT_TRUE(text.has_value()) << each.source << ": " << (text ? "" : text.error().message);
    if (text) {
      EXPECT_EQ(text->bytes(), each.expected) << each.source;
    }
  }
}

TEST(Template, NumbersAndOperators) {
  expect_all(
      {{"{{ 1 + 2 * 3 }} {{ 7 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 2 ** -1 }}", "7 3.5 -4 2 1024 0.5"},
       {"{{ 1e16 }} {{ 1e15 }} {{ 1e-5 }} {{ 0.1 + 0.2 }} {{ 3.0 }}",
        "1e+16 1000000000000000.0 1e-05 0.30000000000000004 3.0"},
       {"{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }}",
        "True False True True True"},
       {"{{ 3 in a }} {{ 'x' not in d }} {{ 'ell' in s }}", "True False True"},
       {"{{ e or 'x' }} {{ a and 1 }} {{ not e }}", "x 1 True"},
       {"{{ 'a' ~ 1 ~ n ~ missing }} {{ 'ab' * 2 }} {{ [1] + [2] }}", "a1None abab [1, 2]"},
       {"{{ '%s %d %.2f%%' % ('x', 3, 2.5) }}", "x 3 2.50%"},
       {"{{ 0x1f }} {{ 1_000 }} {{ 'a' 'b' }} {{ '\\u00e9\\n' }}", "31 1000 ab é\n"}});
}

TEST(Template, ValuesPrintAsPythonPrintsThem) {
  expect_all({{"{{ d }} {{ (1,) }} {{ () }} {{ [n, true, 'it\\'s', \"\\\"\"] }}",
               "{'x': 1, 'y': [1, 2.5, None, True]} (1,) () [None, True, \"it's\", '\"']"},
              {"{{ ['\\n\\x07é'] }} {{ range(3) }} {{ d.items() }}",
               "['\\n\\x07é'] range(0, 3) dict_items([('x', 1), ('y', [1, 2.5, None, True])])"},
              {"{{ d | tojson }} {{ u | tojson }} {{ u | tojson(true) }} {{ {'b': 1, 'a': []} | tojson(indent=1, "
               "sort_keys=true) }}",
               "{\"x\": 1, \"y\": [1, 2.5, null, true]} \"ñ日x\" \"\\u00f1\\u65e5x\" {\n \"a\": [],\n \"b\": 1\n}"}});
}

TEST(Template, SubscriptsAndSlices) {
  expect_all({{"{{ a[0] }} {{ a[-1] }} {{ a[9] }} {{ a.1 }} {{ d.x }} {{ d['x'] }} {{ d.nothing }}", "3 2  1 1 1 "},
              {"{{ a[1:] }} {{ a[::-1] }} {{ s[1:4] }} {{ u[1:] }} {{ u[::-1] }} {{ a[5:] }}",
               "[1, 2] [2, 1, 3] ell 日x x日ñ []"},
              {"{{ missing is defined }} {{ missing | default('x') }} {{ n | default('x', true) }}", "False x x"}});
}

TEST(Template, Statements) {
  expect_all(
      {{"{% if i > 9 %}a{% elif i > 5 %}b{% else %}c{% endif %}", "b"},
       {"{% for x in a %}{{ loop.index }}{{ x }}{{ ',' if not loop.last }}{% endfor %}", "13,21,32"},
       {"{% for x in a if x > 1 %}{{ loop.length }}{% endfor %}{% for x in e %}{% else %}none{% endfor %}", "22none"},
       {"{% for k, v in d.items() %}{{ k }}{% endfor %}{% for c in u %}[{{ c }}]{% endfor %}", "xy[ñ][日][x]"},
       {"{% for x in a %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% if x == 2 %}{% break %}{% endif %}{% endfor "
        "%}",
        "32"},
       {"{% for x in [1, [2]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}", "12"},
       {"{% set x = 1 %}{% for y in a %}{% set x = y %}{% endfor %}{{ x }}", "1"},
       {"{% set ns = namespace(x=1) %}{% for y in a %}{% set ns.x = ns.x + y %}{% endfor %}{{ ns.x }}", "7"},
       {"{% set b %}a{{ i }}{% endset %}{{ b | upper }}{% set c | upper %}x{% endset %}{{ c }}", "A7X"},
       {"{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(b=5, a=4) }}", "1245"},
       {"{% macro m() %}[{{ caller(3) }}]{% endmacro %}{% call(x) m() %}{{ x }}{% endcall %}", "[3]"},
       {"{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, k=2) }}", "(1,){'k': 2}"},
       {"{% with x = 5 %}{{ x }}{% endwith %}{{ x }}{% filter upper %}ab{% endfilter %}", "5AB"},
       {"{% generation %}{{ i }}{% endgeneration %}{% raw %}{{ x }}{% endraw %}", "7{{ x }}"}});
}

TEST(Template, WhiteSpaceAroundTags) {
  expect_all({{"  {% if true %}\n  a\n  {% endif %}\n  b", "  a\n  b"},
              {"x\n  {%- if true -%}\n  a  {%- endif %}\nb", "xab"},
              {"  {%+ if true %}a{% endif +%}\nb", "  a\nb"},
              {"a {{- 1 -}} b {#- c -#} d\n", "a1bd"},
              {"a\r\nb\n\n", "a\nb\n"}});
}

TEST(Template, Filters) {
  expect_all({{"{{ s | upper }} {{ s | title }} {{ ' x ' | trim }}| {{ 'aa' | replace('a', 'b', 1) }} {{ s | length }}",
               "HELLO WORLD Hello World x| ba 11"},
              {"{{ a | sort }} {{ a | join('-') }} {{ a | first }}{{ a | last }}{{ a | sum }}{{ a | max }} {{ a | "
               "reverse | list }}",
               "[1, 2, 3] 3-1-2 3263 [2, 1, 3]"},
              {"{{ rows | map(attribute='n') | list }} {{ rows | selectattr('v') | list | length }} {{ ['x'] | "
               "map('upper') | join }}",
               "['b', 'A', 'b'] 2 X"},
              {"{{ rows | groupby('n') | map(attribute='grouper') | join }} {{ {'b': 1, 'A': 2} | dictsort }}",
               "Ab [('A', 2), ('b', 1)]"},
              {"{{ 'a\nb\n\nc' | indent(2) }}", "a\n  b\n\n  c"},
              {"{{ '3.7' | int }} {{ 'x' | int(9) }} {{ 2.675 | round(2) }} {{ 2.5 | round }} {{ -5 | abs }}",
               "3 9 2.67 2.0 5"}});
}

TEST(Template, MethodsAndTests) {
  expect_all({{"{{ s.split('o') }} {{ ' a  b '.split() }} {{ 'a,b,c'.rsplit(',', 1) }} {{ 'xax'.strip('x') }}",
               "['Hell', ' W', 'rld'] ['a', 'b'] ['a,b', 'c'] a"},
              {"{{ s.startswith('He') }} {{ s.endswith(('x', 'ld')) }} {{ u.find('x') }} {{ 'a-b'.partition('-') }}",
               "True True 2 ('a', '-', 'b')"},
              {"{{ d.get('x') }} {{ d.get('z', 5) }} {{ a.index(1) }} {{ '{}-{k}'.format(1, k=2) }}", "1 5 1 1-2"},
              {"{{ 1 is number and s is string and d is mapping and a is iterable and n is none }}", "True"},
              {"{{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 'a' is in 'abc' }} {{ 1 is not none }} {{ true is true }}",
               "True True True True True"}});
}

TEST(Template, WhatIsWrongIsOneLineThatNamesItsPlace) {
  const std::initializer_list<Case> wrong = {
      {"a\n{% if %}", "line 2: an expression is expected, but there is '%}'"},
      {"{% for x in a %}\n", "line 1: 'else' is expected, but there is the end of the template"},
      {"\n{% nope %}", "line 2: the tag 'nope' is not supported"},
      {"{{ 'x }}", "line 1: a string has no end"},
      {"{{ (1] }}", "line 1: unexpected ']'"},
      {"{# x", "line 1: a comment has no end"},
      {"{% endif %}", "line 1: 'endif' has no beginning"},
      {"{% break %}", "line 1: 'break' stands outside of a loop"},
      {"{% set true = 1 %}", "line 1: nothing can be assigned to 'true'"},
      {"{{ missing.x }}", "line 1: 'missing' is undefined"},
      {"\n\n{{ d.z.x }}", "line 3: 'dict' has no attribute or item 'z'"},
      {"{{ 1 + 'a' }}", "line 1: '+' does not go with 'int' and 'str'"},
      {"{{ 1 / 0 }}", "line 1: division by zero"},
      {"{{ a.append(1) }}", "line 1: a 'list' cannot be changed with 'append'"},
      {"{{ 1 | nope }}", "line 1: the filter 'nope' is not supported"},
      {"{{ 1 is nope }}", "line 1: the test 'nope' is not supported"},
      {"{{ 9223372036854775807 + 1 }}", "line 1: a whole number has more than 64 bits"},
      {"{{ range(100001) }}", "line 1: range() is longer than 100000"},
      {"{{ raise_exception('No.') }}", "No."}};
  for (const Case& each : wrong) {
    const auto text = render(each.source);
    ASSERT_FALSE(text) << each.source;
    EXPECT_EQ(text.error().message, each.expected) << each.source;
    const bool parsed = Template::parse(each.source).has_value();
    const bool raised = std::string_view(each.source).contains("raise_exception");
    EXPECT_EQ(text.error().code, parsed && !raised ? ErrorCode::kUnsupported : ErrorCode::kInvalidArgument);
  }
}

TEST(Template, TheClockIsGiven) {
  RenderOptions options;
  options.now.tm_year = 124;
  options.now.tm_mon = 6;
  options.now.tm_mday = 9;
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y') }}", options)->bytes(), "09 Jul 2024");
  EXPECT_EQ(render("{{ strftime_now('') }}", options)->bytes(), "");
}

// Python writes addresses for these, or has what this build has not.
TEST(Template, WhatWouldDifferFromPythonIsRefused) {
  for (const char* source :
       {"{{ range }}", "{{ [1] | map('string') }}", "{{ 'a'.upper }}", "{{ [dict] }}", "{{ '' ~ ([1] | reject) }}",
        "{{ self }}", "{{ cycler }}", "{{ joiner is defined }}", "{{ lipsum(1) }}", "{{ (1).real }}",
        "{{ 'a'['istitle'] }}", "{{ range(3).stop }}", "{% macro m(a) %}{% endmacro %}{{ m.arguments }}",
        "{{ '\xC2\xB2'.isdigit() }}", "{{ '\xC2\xBD'.isnumeric() }}", "{{ '%a' % 1 }}", "{{ '\\ud83d' }}",
        "{{ strftime_now('a\\0b') }}"}) {
    const auto parsed = Template::parse(source);
    const bool refused = !parsed || !parsed->render(Dict(), {});
    EXPECT_TRUE(refused) << source;
  }
}

}  // namespace
}  // namespace cairn::jinja

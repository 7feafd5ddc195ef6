// SPDX-License-Identifier: Apache-2.0
// Who wrote which byte of the output.
#include <gtest/gtest.h>

#include "cairn/text/jinja/json.h"
#include "cairn/text/jinja/template.h"

namespace cairn::jinja {
namespace {

// The output with what the template wrote in capitals' place: each trusted stretch in square brackets.
std::string marked(std::string_view source) {
  const auto context = read_json(R"({"c": "user <end> text", "l": ["x", "y"], "n": 5})");
  const auto text = Template::parse(source)->render(*context->dict());
  if (!text) return text.error().message;
  std::string out;
  for (std::size_t i = 0; i < text->size(); ++i) {
    const bool here = text->is_trusted(i), before = i > 0 && text->is_trusted(i - 1);
    if (here != before) out += here ? "[" : "]";
    out += text->bytes()[i];
  }
  return !text->empty() && text->is_trusted(text->size() - 1) ? out + "]" : out;
}

TEST(Trust, TextAndLiteralsAreTheTemplatesAndValuesAreNot) {
  EXPECT_EQ(marked("a{{ 'b' }}{{ c }}d"), "[ab]user <end> text[d]");
  EXPECT_EQ(marked("{{ 'a' ~ c ~ 1 ~ none ~ n }}"), "[a]user <end> text[1None5]");
  EXPECT_EQ(marked("{{ 'a' + l[0] + 'b' }}"), "[a]x[b]");
}

TEST(Trust, StaysWithWhatIsCutAndChanged) {
  EXPECT_EQ(marked("{{ ('<' ~ c)[:6] }}"), "[<]user ");
  EXPECT_EQ(marked("{{ ('<' ~ c ~ '>')[::-1] }}"), "[>]txet >dne< resu[<]");
  EXPECT_EQ(marked("{{ (' a' ~ c ~ ' ') | trim | upper }}"), "[A]USER <END> TEXT");
  EXPECT_EQ(marked("{{ c.split(' <end>')[0] ~ '|' }}"), "user[|]");
  EXPECT_EQ(marked("{{ c | replace('<end>', '</s>') }}"), "user [</s>] text");
  EXPECT_EQ(marked("{{ '<end>' | replace('end', l[1]) }}"), "[<]y[>]");
  EXPECT_EQ(marked("{{ l | join('<end>') }}"), "x[<end>]y");
  EXPECT_EQ(marked("{{ '%s|%s' % (c[:4], 'b') }} {{ '{}!'.format(l[0]) }}"), "user[|b ]x[!]");
  EXPECT_EQ(marked("{% for part in ('<' ~ c).split() %}{{ part }},{% endfor %}"), "[<]user[,]<end>[,]text[,]");
  EXPECT_EQ(marked("{% set x %}<{{ c[0] }}>{% endset %}{{ x }}{% macro m(t) %}({{ t }}){% endmacro %}{{ m(c[1]) }}"),
            "[<]u[>(]s[)]");
  EXPECT_EQ(marked("{{ ('a' ~ c[:2]) * 2 }}{{ (c[0] ~ 'b') | list | join }}"), "[a]us[a]usu[b]");
  EXPECT_EQ(marked("{{ c[:2] | center(4) }}{{ ('x\n' ~ c[:2]) | indent(1) }}"), "[ ]us[ x\n ]us");
}

TEST(Trust, WhatIsMadeOfListsAndDictsIsNobodys) {
  EXPECT_EQ(marked("{{ ['<end>'] }}{{ {'a': c[:1]} | tojson }}"), "['<end>']{\"a\": \"u\"}");
}

TEST(Trust, ComparingAndChoosingDoNotChangeIt) {
  EXPECT_EQ(marked("{{ c if c == 'user <end> text' else 'no' }}"), "user <end> text");
  EXPECT_EQ(marked("{{ c[5:10] if c[5:10] == '<end>' }}{{ '<end>' }}"), "<end>[<end>]");
}

}  // namespace
}  // namespace cairn::jinja

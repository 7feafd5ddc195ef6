# SPDX-License-Identifier: Apache-2.0
"""Conversations for chat templates, and small templates that say what one construct does."""

CALL = {"type": "function", "id": "call12345",
        "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 3, "units": ["°C", None, True, 1.5]}}}
TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "Tells the weather of a city.\nIn <b>two</b> lines & \"quotes\".",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "Name of the city"},
        "days": {"type": "integer", "description": "How many days", "default": 1, "enum": [1, 3, 7]},
        "units": {"type": "array", "items": {"type": "string"}, "nullable": True},
        "place": {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": ["number", "null"]}},
                  "required": ["lat"]}},
        "required": ["city"]},
    "return": {"type": "string", "description": "A sentence"}}}
PLAIN_TOOL = {"type": "function", "function": {"name": "stop", "description": "Stops.", "parameters": {
    "type": "object", "properties": {}}}}

SYSTEM = {"role": "system", "content": "You are terse."}
HELLO = {"role": "user", "content": "Hello, {{ world }} {% if %}"}
HI = {"role": "assistant", "content": "Hi <|im_end|> there"}
BYE = {"role": "user", "content": "  Bye\n\n"}
THOUGHT = {"role": "assistant", "content": "<think>\nWell, 1 < 2.\n</think>\n\nYes."}
REASONED = {"role": "assistant", "content": "Yes.", "reasoning_content": "Well.", "thinking": "Hm."}
CALLS = {"role": "assistant", "content": "", "tool_calls": [CALL]}
CALLS_NONE = {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]}
CALLS_TEXT = {"role": "assistant", "content": "One moment.", "tool_calls": [
    {**CALL, "function": {"name": "stop", "arguments": "{\"now\": true}"}}]}
RESULT = {"role": "tool", "name": "get_weather", "tool_call_id": "call12345", "content": "{\"sky\": \"blue\"}"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "Look: "}, {"type": "text", "text": "this"}]}

CONVERSATIONS = {
    "one": [HELLO],
    "system": [SYSTEM, HELLO],
    "system alone": [SYSTEM],
    "answered": [SYSTEM, HELLO, HI],
    "goes on": [HELLO, HI, BYE],
    "longer": [SYSTEM, HELLO, HI, BYE, HI, HELLO],
    "thought": [HELLO, THOUGHT, BYE, THOUGHT],
    "reasoned": [SYSTEM, HELLO, REASONED, BYE],
    "called": [SYSTEM, HELLO, CALLS, RESULT],
    "called and answered": [HELLO, CALLS_NONE, RESULT, RESULT, HI, BYE],
    "called with text": [HELLO, CALLS_TEXT, RESULT, HI],
    "parts": [SYSTEM, PARTS],
    "starts with an answer": [HI, HELLO],
    "twice the user": [HELLO, BYE],
    "unknown role": [HELLO, {"role": "critic", "content": "Boo."}],
    "developer": [{"role": "developer", "content": "Be kind."}, HELLO],
    "no content": [HELLO, {"role": "assistant"}],
    "empty": [],
    "unicode": [{"role": "user", "content": "Grüße 👋🏽 \u00a0\u2003 ñ \u200b日本語\t'single' \"double\""}],
}
TOOLS = [None, [TOOL], [TOOL, PLAIN_TOOL]]
KWARGS = [{}, {"enable_thinking": False}, {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"},
          {"documents": [{"title": "A", "text": "First."}, {"title": "B", "text": "Second."}],
           "builtin_tools": ["browser", "python", "code_interpreter"], "model_identity": "You are Test.",
           "tools_in_user_message": False, "date_string": "26 Jul 2024"}]


def contexts():
    """Every conversation with every list of tools and every set of keywords."""
    for name, messages in CONVERSATIONS.items():
        for number, tools in enumerate(TOOLS):
            for kwargs in KWARGS:
                for prompt in (True, False):
                    yield f"{name}, {number} tools, {sorted(kwargs)}, {prompt}", {
                        "messages": messages, "tools": tools, "add_generation_prompt": prompt, "bos_token": "<s>",
                        "eos_token": "</s>", **kwargs}


SMALL_CONTEXT = {"a": [3, 1, 2], "d": {"x": 1, "y": [1, 2.5, None, True], "items": "key", "z": {"n": "it's"}},
                 "s": "Hello World", "n": None, "f": 1.5, "i": 7, "e": [], "u": "ñandú É 日本",
                 "rows": [{"n": "b", "v": 2, "t": {"k": 1}}, {"n": "A", "v": 1, "t": {"k": 2}}, {"n": "b", "v": 3}],
                 "words": ["one", "Two", "three", "two"], "h": "a\n b\n\n  c\n", "q": "it's \"x\" \\ \n\t\x07é\u200b"}

SMALL = r"""
{{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ -2 ** 2 }}
{{ 1 / 3 }} {{ 1e16 }} {{ 1e15 }} {{ 1e-5 }} {{ 0.0001 }} {{ 1e22 * 10 }} {{ 123456789.123 }} {{ 3.0 }} {{ 1_000 }} {{ 0x1f }} {{ 0b101 }} {{ 0o17 }}
{{ 2 ** 3 ** 2 }} {{ 1 if i > 3 else 2 }} {{ 1 if false }} {{ (1 if false) is defined }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 == true }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ (1, 2) == (1, 2) }} {{ [1] == (1,) }}
{{ 3 in a }} {{ 9 not in a }} {{ 'ell' in s }} {{ 'x' in d }} {{ not 1 in a }}
{{ a and e }} {{ e or 'empty' }} {{ not e }} {{ n or 0 or '' or 'last' }}
{{ a }} {{ d }} {{ n }} {{ true }} {{ f }} {{ (1,) }} {{ () }} {{ {} }} {{ [] }} {{ [n, true, 'x', 1.0] }} {{ q }} {{ [q] }} {{ u }} {{ [u] }}
{{ 'a' ~ 1 ~ n ~ true ~ 1.0 ~ missing ~ [1] }}
{{ 'a' 'b' "c" }} {{ 'x\ty\\\'' }} {{ "\u00e9\x41\101\N" if false else 1 }} {{ '\d' }}
{{ a[0] }} {{ a[-1] }} {{ a[9] }} {{ a[1:] }} {{ a[::-1] }} {{ a[:-1] }} {{ s[1:4] }} {{ s[::-2] }} {{ u[2:] }} {{ a[5:] }} {{ a[-9:2] }} {{ s[-5:] }}
{{ d.x }} {{ d['x'] }} {{ d.items is callable }} {{ d['items'] }} {{ d.nothing }} {{ d.nothing is defined }} {{ d.z.n }} {{ a.0 }} {{ d.y.2 }}
{{ missing }} {{ missing is defined }} {{ missing == missing2 }} {{ missing | length }} {{ missing | default('x') }} {{ n | default('x') }} {{ n | default('x', true) }}
{{ missing.attribute }}
{{ missing + 1 }}
{{ n.attribute }} {{ n.attribute.more }}
{{ 'a' + 1 }}
{{ 1 / 0 }}
{{ [1, 2] + [3] }} {{ [0] * 3 }} {{ 'ab' * 2 }} {{ 3 * 'ab' }} {{ (1, 2) + (3,) }}
{{ '%s is %d and %.2f%%' % ('x', 3, 2.5) }} {{ '%05d|%-5s|%5s|%x' % (42, 'a', 'b', 255) }} {{ '%(k)s' % {'k': 1} }} {{ '%s' % [1] }} {{ '%s' | format('x') }}
{% for x in a %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ x }},{% endfor %}
{% for x in e %}x{% else %}none{% endfor %} {% for x in missing %}x{% else %}none{% endfor %}
{% for x in a if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %} {% for k in d %}{{ k }}{% endfor %} {% for c in 'añb' %}[{{ c }}]{% endfor %}
{% for x in a %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% if x == 2 %}{% break %}{% endif %}{% else %}no{% endfor %}
{% for x in [1] %}{% break %}{% else %}else runs{% endfor %}
{% for x in a %}{{ loop.cycle('odd', 'even') }}{{ loop.changed(x > 1) }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}
{% for x in [[1, [2, 3]], 4] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ loop.depth }}:{{ x }}{% endif %}{% endfor %}
{% for x in n %}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% set x = 1 %}{% for y in [1, 2] %}{% set x = x + y %}{{ x }}{% endfor %}{{ x }}
{% set ns = namespace(x=1, y='q') %}{% for y in [1, 2] %}{% set ns.x = ns.x + y %}{% endfor %}{{ ns.x }}{{ ns.y }}{{ ns.z is defined }}{{ ns['x'] }} {{ ns }}
{% set x, y = 1, 2 %}{{ x }}{{ y }} {% set x = 1, 2 %}{{ x }} {% set (x, y) = [3, 4] %}{{ x + y }}
{% set x.y = 1 %}
{% set block %}a{{ i }}b{% endset %}{{ block | upper }} {% set b | upper %}abc{% endset %}{{ b }} {% set b | replace('a', 'z') | upper %}abc{% endset %}{{ b }}
{% if i > 10 %}big{% elif i > 5 %}mid{% else %}small{% endif %}
{% if x is defined and x %}{{ x }}{% endif %}{% if not x %}no{% endif %}
{% macro m(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, c=3) }} {{ m(b=5, a=4) }} {{ m() }} {{ m }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(x=2) }}
{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}
{% macro m(a) %}[{{ caller() }}{{ a }}]{% endmacro %}{% call m(1) %}in{{ i }}{% endcall %} {% macro l(x) %}{{ caller(x) }}{% endmacro %}{% call(y) l(5) %}<{{ y }}>{% endcall %}
{% macro m(a) %}{{ caller is defined }}{{ caller() if caller else 'none' }}{% endmacro %}{{ m(1) }}
{% macro f(n) %}{{ n }}{% if n > 0 %} {{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}
{% macro show() %}{{ later }}{% endmacro %}{% set later = 'set later' %}{{ show() }}
{% with x = 5, y = i %}{{ x }}{{ y }}{% endwith %}{{ x }}
{% filter upper %}abc {{ s }}{% endfilter %} {% filter replace('a', 'b') | upper %}aaa{% endfilter %}
{% generation %}{% set inside = 1 %}g{{ i }}{% endgeneration %}{{ inside is defined }}
{% raw %}{{ x }}{% if %}{% endraw %}
{# comment #}x{#- strip -#}   y
  {%- if true %}  a  {% endif -%}   b  {%+ if true %} c{% endif +%}
{{ s | upper }} {{ s | lower }} {{ s | title }} {{ 'ab-cd (ef) gH' | title }} {{ s | capitalize }} {{ u | upper }} {{ s.title() }} {{ "they're" | title }} {{ "they're".title() }} {{ s.swapcase() }}
{{ '  x ' | trim }}| {{ 'xxaxx' | trim('x') }} {{ ' x '.strip() }}|{{ ' x '.lstrip() }}|{{ ' x '.rstrip() }}| {{ 'abc'.strip('ac') }} {{ '\n\nx\n'.lstrip('\n') }}|
{{ s.split() }} {{ s.split('o') }} {{ s.split('o', 1) }} {{ ' a  b c '.split() }} {{ ' a  b c '.split(none, 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ' a b c '.rsplit(none, 1) }} {{ ''.split() }} {{ ''.split(',') }}
{{ s.startswith('He') }} {{ s.endswith(('x', 'ld')) }} {{ s.find('o') }} {{ s.rfind('o') }} {{ s.find('z') }} {{ s.index('W') }} {{ s.count('o') }} {{ s.replace('o', '0') }} {{ s.replace('o', '0', 1) }} {{ 'abc'.replace('', '-') }} {{ u.find('日') }}
{{ s.index('zzz') }}
{{ 'a-b'.partition('-') }} {{ 'a-b-c'.rpartition('-') }} {{ 'ab'.partition('-') }} {{ h.splitlines() }} {{ h.splitlines(true) }} {{ 'x'.join(['a', 'b']) }} {{ 'pre-x'.removeprefix('pre-') }} {{ 'x.py'.removesuffix('.py') }}
{{ 'a'.isalpha() }} {{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ 'aB'.islower() }} {{ 'AB'.isupper() }} {{ '7'.zfill(3) }} {{ '-7'.zfill(4) }} {{ 'x'.ljust(3, '.') }} {{ 'x'.rjust(3) }} {{ 'x'.center(4, '*') }} {{ 'xy'.center(5, '*') }}
{{ '{} {} {{}}'.format(1, 'x') }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{k}'.format(k=1) }}
{{ a | length }} {{ s | count }} {{ d | length }} {{ a | first }} {{ a | last }} {{ e | first }} {{ s | first }} {{ d | first }} {{ a | sum }} {{ a | sort }} {{ a | sort(reverse=true) }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ a | reverse | list }} {{ s | reverse }}
{{ a | min }} {{ a | max }} {{ words | max }} {{ words | unique | list }} {{ a | join('-') }} {{ rows | join(',', attribute='n') }} {{ [1, [2]] | join }} {{ a | string }} {{ s | list }} {{ rows | sum(attribute='v') }}
{{ rows | map(attribute='n') | list }} {{ rows | map(attribute='t.k', default=0) | list }} {{ words | map('upper') | list }} {{ words | map('replace', 'o', '0') | join(' ') }} {{ rows | selectattr('v', 'gt', 1) | map(attribute='n') | list }} {{ rows | rejectattr('t') | list | length }} {{ rows | selectattr('t', 'defined') | list | length }} {{ a | select('odd') | list }} {{ a | reject('equalto', 3) | list }} {{ [0, 1, ''] | select | list }} {{ words | select('in', ['one']) | list }}
{{ rows | groupby('n') }} {% for key, list in rows | groupby('n') %}{{ key }}{{ list | length }}{% endfor %} {% for g in rows | groupby('v') %}{{ g.grouper }}{{ g.list | length }}{% endfor %} {{ rows | sort(attribute='n,v') | map(attribute='v') | list }} {{ rows | sort(attribute='v', reverse=true) | map(attribute='v') | list }}
{{ {'b': 1, 'A': 2} | dictsort }} {{ {'b': 1, 'A': 2} | dictsort(by='value', reverse=true) }} {{ d | items | list | length }} {{ a | batch(2) | list }} {{ a | batch(2, 0) | list }} {{ a | slice(2) | list }} {{ a | slice(2, 'x') | list }}
{% set g = a | map('string') %}{{ g | list }}{{ g | list }}{{ g is iterable }}{% if g %}yes{% endif %}
{{ (a | map('string')) | length }}
{{ -5 | abs }} {{ (-5) | abs }} {{ 2.5 | round }} {{ 3.5 | round }} {{ 2.675 | round(2) }} {{ 2.1 | round(method='ceil') }} {{ 2.9 | round(1, 'floor') }} {{ 5 | round }} {{ '3' | int }} {{ '3.7' | int }} {{ 'x' | int }} {{ 'x' | int(9) }} {{ '0x1f' | int(0, 16) }} {{ ' 12 ' | int }} {{ '1_0' | int }} {{ 3.9 | int }} {{ '1.5' | float }} {{ 'x' | float }} {{ n | int }} {{ true | int }} {{ '-3' | int }} {{ '+-3' | int }} {{ '' | int }} {{ 'inf' | int }}
{{ h | indent }}|{{ h | indent(2, true) }}|{{ h | indent('>', blank=true) }}| {{ 'abc def ghi' | truncate(7) }} {{ 'abc def ghi' | truncate(7, leeway=0) }} {{ 'abc def ghi' | truncate(7, true, leeway=0) }} {{ 'abcdef ghi' | truncate(8, false, '!', 0) }} {{ 'ab' | center(6) }}| {{ s | wordcount }} {{ '<a href="x">\'&' | e }} {{ 'a b/ñ&' | urlencode }}
{{ d | tojson }} {{ d | tojson(indent=2) }} {{ q | tojson }} {{ u | tojson }} {{ u | tojson(ensure_ascii=true) }} {{ '👋' | tojson(true) }} {{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }} {{ [1, (2, 3), n, true, 1.0, 1e20] | tojson(separators=(',', ':')) }} {{ {} | tojson(indent=1) }} {{ [[], {}] | tojson(indent='--') }} {{ {1: 2, true: 3, n: 4, 1.5: 5} | tojson }} {{ [1] | tojson(indent=0) }}
{{ ('<a>' | safe) + '<b>' }} {{ '<b>' + ('<a>' | safe) }} {{ ('<' | e) + '<' }} {{ ('<' | safe) ~ '<' }} {{ '<' | safe is escaped }} {{ [s | safe] }}
{{ a | truncate }} {{ a | truncate(3) }} {{ d | truncate }} {{ (1, 2) | truncate(4) }} {{ range(3) | truncate }} {{ d.keys() | truncate }}
{{ range(300) | truncate }}
{{ a | truncate(2) }}
{{ '%c%c%c' % (65, 'x', 233) }} {{ ''.isascii() }} {{ 'aé'.isascii() }} {{ 'ñ1'.isdigit() }} {{ ''.isdigit() }}
{{ '%x' % 1.0 }}
{{ '%c' % 1114112 }}
{{ '{}{1}'.format(1, 2) }}
{{ '{0}{}'.format(1, 2) }}
{{ missing | indent }}
{{ 5 | truncate }} {{ '%s' is odd }}
{{ missing | tojson }}
{{ d.items() | tojson }}
{{ d.keys() }} {{ d.values() | list }} {{ d.get('x') }} {{ d.get('nothing') }} {{ d.get('nothing', 5) }} {{ {'a': 1}.items() }} {{ {'a': 1}.copy() }} {{ a.index(1) }} {{ a.count(3) }} {{ range(3) }} {{ range(1, 10, 3) | list }} {{ range(3)[1] }} {{ range(5)[1:3] }} {{ range(3) | length }} {{ dict(a=1, b=2) }} {{ dict([('x', 1)]) }} {{ dict({'a': 1}, b=2) }}
{{ a.append(4) }}
{{ d.update({}) }}
{{ a.append }} {{ a.append is defined }} {{ s.nothing }} {{ s.__class__ }}
{{ range(1000000) }}
{{ raise_exception('No "way"\nhere') }}
{{ strftime_now('%Y-%m-%d') }} {{ strftime_now('%d %b %Y') }} {{ strftime_now('') }}
{{ 1 is number }} {{ true is number }} {{ true is integer }} {{ 1 is integer }} {{ 1.0 is float }} {{ 'x' is string }} {{ d is mapping }} {{ a is sequence }} {{ d is sequence }} {{ s is sequence }} {{ a is iterable }} {{ 1 is iterable }} {{ missing is iterable }} {{ n is none }} {{ n is not none }} {{ true is true }} {{ 1 is true }} {{ false is false }} {{ true is boolean }} {{ range is callable }} {{ a is callable }} {{ 4 is even }} {{ 3 is odd }} {{ 9 is divisibleby(3) }} {{ 9 is divisibleby 3 }} {{ 'a' is in 'abc' }} {{ 1 is eq 1 }} {{ 1 is ne(2) }} {{ 2 is gt 1 }} {{ 'ab' is lower }} {{ 'AB' is upper }} {{ n is sameas none }} {{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }} {{ x is undefined }} {{ 'a' is equalto 'a' }}
{{ 1 is nosuchtest }}
{{ 1 | nosuchfilter }}
{% if false %}{{ 1 | nosuchfilter }}{% endif %}fine
{{ nosuchfunction() }}
{{ 'a'.nosuchmethod() }}
{{ {'a': {'b': [1, {'c': 2}]}}.a.b[1].c }} {{ {'a': 1}['a'] }} {{ [1, 2, 3,] }} {{ {'a': 1,} }} {{ {1: 'x'}[1] }} {{ {1: 'x'}[true] }} {{ {(1, 2): 3}[(1, 2)] }}
{{ {[1]: 2} }}
{{ a['x'] }} {{ a['count'] is callable }} {{ s['upper']() }} {{ d[[1]] }} {{ d[1:2] }}
{{ n[1:] }}
{{ ns_missing.x }}
{{ 'abc' | attr('upper') is callable }} {{ d | attr('x') }}
{{ a | map('nosuchfilter') | list }}
{{ [3, 'a'] | sort }}
{{ a * 'x' }}
{{ a | join(', ') if a else 'none' }} {{ ('x' if i) ~ 'y' }} {{ not i ~ 'x' }} {{ i | string ~ 'x' }} {{ -i | abs }} {{ i is number and s is string }} {{ 1 if n is none else 2 }} {{ i if i is even else i + 1 if i is odd else 0 }}
{% print 1, 2 %} {% set x = [] %}{% set _ = x %}{{ _ }}
{{ foo(*[1], **{'a': 1}) }} {{ range(*[1, 4]) | list }} {{ dict(**{'a': 1}) }}
{%if i%}a{%endif%}{{i}}{%for x in a%}{{x}}{%endfor%}
{{ "}}" }} {{ '{%' }} {{ {'a': '}}'}['a'] }}
{{ (1, 2) | first }} {{ ('a',) }} {{ (1) }} {% for x in 1, 2, 3 %}{{ x }}{% endfor %} {% if 1, %}t{% endif %}
{% for x in a -%}
   {{ x }}
{%- endfor %}
{% for x in a recursive if x %}{% endfor %}
{% if %}x{% endif %}
{% nosuchtag %}
{% endif %}
{% for x in a %}
{{ a | }}
{{ 1 + }}
{{ (1 }}
{{ 'abc }}
{% break %}
{% macro m(a, a2=1, b) %}{% endmacro %}
{{ a b }}
{{ a[] }}
{{ 1 is }}
{% set 1 = 2 %}
{% set true = 2 %}
{{ @ }}
{% include 'x' %}
{# never ends
{{ -1 ** 2 }} {{ 2 * -3 }} {{ - - 3 }} {{ not not 1 }} {{ 1 - -1 }} {{ 1 -1 }} {{ [-1][0] }} {{ +1 }}
{{ true + 1 }} {{ true == 1 }} {{ {true: 'a'}[1] }} {{ 1 ~ true }} {{ 0.1 + 0.2 }} {{ 1e308 * 10 }} {{ 3 % -2 }} {{ 3.5 % -2 }} {{ 6 / 3 }} {{ 7 // -2 }} {{ 0.0 }} {{ -0.0 }} {{ 5 // 0.3 }}
""".strip("\n").split("\n")

# SPDX-License-Identifier: Apache-2.0
"""Random templates that use what chat templates use, over the names of SMALL_CONTEXT."""
import random

NAMES = ["a", "d", "s", "n", "f", "i", "e", "u", "rows", "words", "h", "q", "missing", "x", "ns.v", "loop.index", "item"]
LITERALS = ["0", "1", "-1", "2", "3.5", "'x'", "'Two'", "''", "' a\\nb '", "none", "true", "false", "[]", "[1, 'b']", "{}",
            "{'k': 1, 'x': [2]}", "(1,)", "'<|end|>'", "10", "'%s'", "'o'"]
BINARY = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">=", "in", "not in", "and", "or"]
FILTERS = ["upper", "lower", "title", "capitalize", "trim", "length", "first", "last", "list", "join(',')", "sort", "reverse",
           "string", "tojson", "tojson(indent=2)", "default('d')", "default('d', true)", "int", "float", "abs", "round(1)", "sum",
           "unique | list", "min", "max", "replace('o', '0')", "map('string') | list", "select('defined') | list",
           "map(attribute='n') | list", "selectattr('v') | list", "rejectattr('t', 'defined') | list", "items | list", "dictsort",
           "indent(2)", "truncate(6)", "batch(2) | list", "wordcount", "groupby('n')", "e", "count", "safe"]
TESTS = ["defined", "undefined", "none", "string", "number", "mapping", "iterable", "sequence", "true", "false", "odd", "even",
         "integer", "float", "boolean", "in [1, 'x']", "equalto(1)", "lower", "upper", "divisibleby 2", "callable"]
METHODS = [".upper()", ".strip()", ".split()", ".split('o')", ".get('x')", ".get('k', 0)", ".items()", ".keys() | list",
           ".startswith('H')", ".endswith('d')", ".replace('l', 'L', 1)", ".lstrip('H')", ".count('o')", ".find('o')", ".title()",
           ".join(words)", ".splitlines()", ".values() | list", ".index(1)", ".rstrip()", ".partition(' ')"]
ATTRIBUTES = [".x", ".k", "['x']", "[0]", "[-1]", ".y", ".n", "[i]", ".t.k"]
SLICES = ["[1:]", "[:-1]", "[::-1]", "[:2]", "[i:]", "[-3:9]"]  # of names: of constants Jinja slices what Python would not


class Maker:
    def __init__(self, dice):
        self.dice = dice

    def expression(self, depth=0):
        pick = self.dice.random()
        if depth > 3 or pick < 0.3:
            return self.dice.choice(NAMES if self.dice.random() < 0.6 else LITERALS)
        inner = self.expression(depth + 1)
        if pick < 0.5:
            return f"{inner} {self.dice.choice(BINARY)} {self.expression(depth + 1)}"
        if pick < 0.65:
            return f"{inner} | {self.dice.choice(FILTERS)}"
        if pick < 0.75:
            return f"({inner}){self.dice.choice(METHODS)}"
        if pick < 0.85:
            if self.dice.random() < 0.4:
                return self.dice.choice(NAMES) + self.dice.choice(SLICES)
            return f"({inner}){self.dice.choice(ATTRIBUTES)}"
        if pick < 0.9:
            return f"({inner}) is {self.dice.choice(['', 'not '])}{self.dice.choice(TESTS)}"
        if pick < 0.93:
            return f"not {inner}"
        if pick < 0.97:
            return f"({inner} if {self.expression(depth + 1)} else {self.expression(depth + 1)})"
        return self.dice.choice([f"[{inner}, {self.expression(depth + 1)}]", f"{{'k': {inner}}}", f"({inner})", f"-{inner}"])

    def tag(self, text):
        sign = lambda: self.dice.choice(["", "", "", "-", "+"])
        return "{%" + sign() + " " + text + " " + sign() + "%}"

    def blank(self):
        return self.dice.choice(["", "", " ", "\n", "\n  ", " text ", "\n\n", "\t", "x\n"])

    def statements(self, depth=0):
        return "".join(self.blank() + self.statement(depth) for _ in range(self.dice.randint(1, 3))) + self.blank()

    def statement(self, depth):
        pick = self.dice.random()
        if depth > 2 or pick < 0.45:
            end = self.dice.choice(["", "", "-"])
            return "{{" + self.dice.choice(["", "", "-"]) + " " + self.expression() + " " + end + "}}"
        inside = self.statements(depth + 1)
        if pick < 0.6:
            otherwise = self.tag("else") + self.statements(depth + 1) if self.dice.random() < 0.5 else ""
            return self.tag("if " + self.expression()) + inside + otherwise + self.tag("endif")
        if pick < 0.75:
            condition = " if " + self.expression(2) if self.dice.random() < 0.2 else ""
            over = self.dice.choice(["a", "rows", "words", "d", "e", "s", "range(3)", self.expression(2)])
            ends = self.tag("if loop.index > 1") + self.tag(self.dice.choice(["break", "continue"])) + self.tag("endif")
            otherwise = self.tag("else") + "none" if self.dice.random() < 0.3 else ""
            return (self.tag(f"for item in {over}{condition}") + inside + (ends if self.dice.random() < 0.2 else "") + otherwise +
                    self.tag("endfor"))
        if pick < 0.83:
            return self.tag(f"set {self.dice.choice(['x', 'item', 'ns.v'])} = {self.expression()}")
        if pick < 0.87:
            return self.tag("set x") + inside + self.tag("endset")
        if pick < 0.92:
            return (self.tag("macro m(x, item=2)") + inside + self.tag("endmacro") + "{{ m(" + self.expression(2) + ") }}")
        if pick < 0.95:
            return self.tag("filter upper") + inside + self.tag("endfilter")
        if pick < 0.97:
            return self.tag("with x = " + self.expression(2)) + inside + self.tag("endwith")
        return self.dice.choice(["{# note #}", "{#- note -#}", "{% raw %}{{ x }}{% endraw %}", "{%- raw -%} {% x {%- endraw -%}"])


def random_templates(count, seed):
    """The same ones for the same seed."""
    dice = random.Random(seed)
    for _ in range(count):
        yield "{% set ns = namespace(v=1) %}" + Maker(dice).statements()

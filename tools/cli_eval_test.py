#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cairn eval` from outside: negative controls, determinism, going on after a stop, what is refused. CAIRN_BINARY names
the binary."""
import json
import os
import signal
import subprocess
import time
import unittest
from pathlib import Path

from cli_test import BINARY, CORRUPT, INTERRUPTED, IO, MODEL, NOT_FOUND, OUT_OF_BUDGET, ROOT, TOO_LONG, UNSUPPORTED, USAGE, CommandLine
from cli_test import cairn

# English that the model knows a little of, long enough for two windows.
TEXT = (ROOT / "docs/evaluation.md").read_text() + (ROOT / "docs/architecture.md").read_text()
SUITE = ("eval", "suite", "-m", MODEL, "--contexts", "512", "--sessions", "1", "--turns", "2")


class Text(CommandLine):
    def setUp(self):
        super().setUp()
        self.text = self.file("text.txt", TEXT.encode())

    def rows(self, command, *arguments):
        report = json.loads(self.output("eval", command, "-m", MODEL, self.text, "--contexts", "256", "--windows", "6",
                                        "--json", *arguments))
        return {row["recipe"]: row for row in report["rows"]}

    def test_negative_controls(self):
        # The named damages, each at two strengths: the exact cache shows none, the stronger shows more.
        pairs = [("value-bits=2", "value-bits=1"), ("drop=0.05", "drop=0.2"), ("zero-heads=1", "zero-heads=2")]
        names = ["raw_f16"] + ["raw_f16+" + part for pair in pairs for part in pair] + ["raw_f16+shift=1"]
        rows = self.rows("kld", "--recipes", ",".join(names))
        exact = rows["raw_f16"]
        self.assertEqual({figure["value"] for figure in exact["kl"].values()}, {0})
        self.assertEqual(exact["same_top1"]["value"], 1)
        self.assertEqual(exact["perplexity_ratio"], {"value": 1, "low": 1, "high": 1})
        for name in names[1:]:
            self.assertGreater(rows[name]["kl"]["mean"]["low"], 1e-4, name)
            self.assertLess(rows[name]["same_top1"]["value"], 1, name)
            self.assertLessEqual(rows[name]["kl"]["median"]["value"], rows[name]["kl"]["p99"]["value"])
        for weak, strong in pairs:
            self.assertLess(rows["raw_f16+" + weak]["kl"]["mean"]["value"],
                            rows["raw_f16+" + strong]["kl"]["mean"]["value"])
            self.assertGreater(rows["raw_f16+" + weak]["same_top1"]["value"],
                               rows["raw_f16+" + strong]["same_top1"]["value"])

    def test_perplexity_is_the_same_in_both_commands_and_rises_with_damage(self):
        recipes = "raw_f16,raw_f16+value-bits=1"
        ppl, kld = self.rows("ppl", "--recipes", recipes), self.rows("kld", "--recipes", recipes)
        for recipe in recipes.split(","):
            self.assertEqual(ppl[recipe]["perplexity"], kld[recipe]["perplexity"])
        self.assertGreater(ppl["raw_f16+value-bits=1"]["perplexity"]["value"], ppl["raw_f16"]["perplexity"]["value"])

    def test_bytes_count_tails_and_rounding(self):
        row = self.rows("ppl", "--recipes", "raw_f16,raw_f32")
        # 6 layers, K and V, 2 heads of 64 channels: 3072 bytes a token in f16, and 256 tokens are whole blocks.
        self.assertEqual(row["raw_f16"]["bytes_per_token"], 3072)
        self.assertEqual(row["raw_f32"]["bytes_per_token"], 6144)
        self.assertEqual(row["raw_f32"]["bits_per_value"], 32)

    def test_threads_change_no_byte(self):
        arguments = ("eval", "kld", "-m", MODEL, self.text, "--contexts", "128,256", "--windows", "3", "--recipes",
                     "raw_f16+drop=0.3,raw_bf16", "--json")
        self.assertEqual(self.output(*arguments, "-t", "1"), self.output(*arguments, "-t", "2"))

    def test_reference_file(self):
        arguments = ("eval", "kld", "-m", MODEL, self.text, "--contexts", "128", "--windows", "2", "--recipes",
                     "raw_f16+shift=1", "--json")
        reference = self.folder / "reference"
        live = self.output(*arguments, "--save-reference", reference)
        self.assertEqual(self.output(*arguments, "--reference", reference), live)
        self.assert_error(USAGE, "another model, text or window", *arguments, "--reference", reference, "--skip", "9")
        data = bytearray(reference.read_bytes())
        data[len(data) // 2] ^= 1
        self.assert_error(CORRUPT, "damaged", *arguments, "--reference", self.file("bad", bytes(data)))
        self.assert_error(CORRUPT, "no file of reference", *arguments, "--reference", self.text)
        self.assert_error(NOT_FOUND, "nowhere", *arguments, "--reference", self.folder / "nowhere")
        kept = Path(self.text).read_bytes()
        self.assert_error(USAGE, "no file of reference", *arguments, "--save-reference", self.text)
        self.assertEqual(Path(self.text).read_bytes(), kept)
        self.assert_error(USAGE, "one context", *arguments, "--contexts", "128,256", "--reference", reference)

    def test_bad_input(self):
        for command in ("ppl", "kld"):
            run = ("eval", command, "-m", MODEL, self.text)
            self.assert_error(USAGE, "fewer than one window", "eval", command, "-m", MODEL, self.file("short", b"Hi."))
            self.assert_error(USAGE, "fewer than one window", "eval", command, "-m", MODEL, self.file("empty", b""))
            self.assert_error(TOO_LONG, "exceeds the model", *run, "--contexts", "100000")
            self.assert_error(UNSUPPORTED, "raw_f16", *run, "--recipes", "raw_f17")
            self.assert_error(USAGE, "the parts are", *run, "--recipes", "raw_f16+magic=1")
            self.assert_error(USAGE, "from 0 to 1", *run, "--recipes", "raw_f16+drop=2")
            self.assert_error(USAGE, "KV heads", *run, "--recipes", "raw_f16+zero-heads=3")
            self.assert_error(USAGE, "leaves none", *run, "--contexts", "64", "--skip", "64")
            self.assert_error(USAGE, "leaves none", *run, "--contexts", "64", "--skip", "4294967295")
            self.assert_error(OUT_OF_BUDGET, "kv-budget", *run, "--contexts", "64,1024", "--kv-budget", "1MiB")
            self.assert_error(NOT_FOUND, "nowhere.txt", "eval", command, "-m", MODEL, self.folder / "nowhere.txt")


    def test_what_is_measured_before_an_interrupt_is_printed(self):
        long = self.file("long.txt", TEXT.encode() * 40)
        run = [BINARY, "eval", "ppl", "-m", MODEL, str(long), "--contexts", "64,256", "--windows", "2000", "--json"]
        started = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(2)
        started.send_signal(signal.SIGINT)
        output, error = started.communicate(timeout=60)
        self.assertEqual(started.returncode, INTERRUPTED, error)
        self.assertRegex(error.decode(), r"\Acairn: [^\n]+\n\Z")
        report = json.loads(output)
        self.assertFalse(report["complete"])
        self.assertGreater(report["rows"][0]["windows"], 0)


class Suite(CommandLine):
    def test_quick_run_has_both_modes_controls_and_intervals(self):
        report = json.loads(self.output("eval", "suite", "-m", MODEL, "--quick", "--json"))
        self.assertEqual(report["settings"]["left_out"], [])
        self.assertEqual(report["settings"]["form"], "plain")  # the demo model has no chat template
        self.assertEqual(report["settings"]["tasks"], [f"S{i}" for i in range(1, 13)])
        exact = report["recipes"][0]
        self.assertEqual({cell["mode"] for cell in exact["cells"]}, {"multi-turn", "multi-request"})
        self.assertEqual({cell["task"] for cell in exact["cells"]}, set(report["settings"]["tasks"]))
        self.assertEqual({recipe["control"] for recipe in report["recipes"]},
                         {"", "no context", "shuffled labels", "instruction", "instruction pinned"})
        for cell in exact["cells"]:
            self.assertEqual((cell["lost"], cell["won"]), (0, 0))
            self.assertLessEqual(cell["accuracy"]["low"], cell["accuracy"]["value"])
            if cell["retained"]:
                self.assertEqual(cell["retained"]["items"], cell["retained"]["kept"])

    def test_damage_costs_answers_and_no_context_leaves_none(self):
        report = json.loads(self.output("eval", "suite", "-m", MODEL, "--contexts", "512", "--sessions", "4", "--tasks",
                                        "S1", "--json", "--recipes",
                                        "raw_f16,raw_f16+zero-heads=1,raw_f16+shift=1,raw_f16+value-bits=1,"
                                        "raw_f16+drop=0.2,raw_f16+evict=0.2,raw_f16+evict=0.8"))
        def right(recipe):
            cells = [cell for cell in recipe["cells"] if cell["depth"] is None]
            return sum(cell["accuracy"]["value"] * cell["items"] for cell in cells) / sum(c["items"] for c in cells)

        by_name = {(r["recipe"], r["control"]): right(r) for r in report["recipes"]}
        exact = by_name["raw_f16", ""]
        self.assertGreater(exact, 0.9)
        self.assertLess(by_name["raw_f16", "no context"], 0.1)
        for damage in ("zero-heads=1", "shift=1", "evict=0.2"):
            self.assertLess(by_name["raw_f16+" + damage, ""], exact - 0.3, damage)
        self.assertLess(by_name["raw_f16+value-bits=1", ""], exact)
        self.assertLess(by_name["raw_f16+drop=0.2", ""], exact)
        self.assertLess(by_name["raw_f16+evict=0.8", ""], by_name["raw_f16+evict=0.2", ""])

    def test_jobs_and_threads_change_no_byte(self):
        runs = [self.output(*SUITE, "--json", *flags)
                for flags in (("-t", "1"), ("-t", "2"), ("-t", "2", "--jobs", "1"))]
        self.assertEqual(runs[0], runs[1])
        self.assertEqual(runs[0], runs[2])

    def test_goes_on_after_a_kill(self):
        whole = self.output(*SUITE, "--json")
        out = self.folder / "run"
        started = subprocess.Popen([BINARY, *SUITE, "--out", str(out)], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        journal = Path(f"{out}.journal")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not journal.exists() or journal.read_bytes().count(b"\n") < 5):
            time.sleep(0.005)
        started.kill()
        started.wait()
        answered = journal.read_bytes().count(b"\n") - 1
        self.assertGreater(answered, 3)
        journal.write_bytes(journal.read_bytes() + b'{"key":"raw_f16|S1')  # as if cut in the middle of a line
        done = cairn(*SUITE, "--out", out, "--json")
        self.assertEqual(done.returncode, 0)
        self.assertIn(f"going on after {answered} sessions", done.stderr.decode())
        self.assertIn("1 broken lines", done.stderr.decode())
        self.assertEqual(done.stdout, whole)
        self.assertEqual(Path(f"{out}.json").read_bytes(), whole)
        self.assertIn("| S1 key-value |", Path(f"{out}.md").read_text())

    def test_interrupt_keeps_what_is_answered(self):
        out = self.folder / "run"
        run = [BINARY, "eval", "suite", "-m", MODEL, "--sessions", "500", "--out", str(out)]
        started = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        journal = Path(f"{out}.journal")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not journal.exists() or journal.read_bytes().count(b"\n") < 3):
            time.sleep(0.005)
        started.send_signal(signal.SIGINT)
        output, error = started.communicate(timeout=60)
        self.assertEqual((started.returncode, output), (INTERRUPTED, b""))
        self.assertRegex(error.decode(), r"\Acairn: interrupted after \d+ of \d+ sessions; [^\n]+\n\Z")

    def test_other_data_is_another_run(self):
        line = '{"context": "The city is %s.", "multi_turns": [{"input": "What is the city?", "answer": "%s"}]}\n'
        arguments = ("eval", "suite", "-m", MODEL, "--contexts", "256", "--tasks", "none", "--no-controls", "--out",
                     self.folder / "run", "--data")
        path = self.file("x.jsonl", (line % ("Rome", "Rome")).encode())
        self.output(*arguments, path)
        self.file("x.jsonl", (line % ("Oslo", "Oslo")).encode())
        self.assert_error(USAGE, "another run", *arguments, path)

    def test_random_eviction_goes_down_to_the_same_bytes(self):
        report = json.loads(self.output("eval", "suite", "-m", MODEL, "--contexts", "512", "--sessions", "1", "--tasks",
                                        "S1", "--json", "--codec", "raw_f32", "--recipes", "raw_f16,raw_bf16"))
        random = [r for r in report["recipes"] if r["control"] == "random eviction"]
        self.assertEqual([r["recipe"] for r in random], ["raw_f32+evict=0.5"])  # once for both: they are as large
        self.assertEqual(random[0]["kept"], 0.5)

    def test_journals_of_other_runs_and_other_files_are_refused(self):
        out = self.folder / "run"
        self.output(*SUITE, "--tasks", "S1", "--out", out)
        self.assert_error(USAGE, "another run: settings", *SUITE, "--tasks", "S2", "--out", out)
        for other in (b"Dear diary,\n", b'{"my": "only copy"}', b'{"format": 1}\n', b'{"format": "cairn.x"}\n{}\n',
                      b'{"a": ' + b"[" * 400000 + b"]" * 400000 + b"}\n"):
            path = self.file("other.journal", other)
            self.assert_error(CORRUPT, "no journal", *SUITE, "--out", self.folder / "other")
            self.assertEqual(path.read_bytes(), other)
        self.assert_error(IO, "nowhere", *SUITE, "--out", self.folder / "nowhere" / "run")

    def test_broken_lines_are_asked_again(self):
        out = self.folder / "run"
        arguments = (*SUITE, "--tasks", "S1,S5", "--out", out, "--json")
        whole = self.output(*arguments)
        journal = Path(f"{out}.journal")
        lines = journal.read_text().splitlines()
        lines[1] = "{" * 50
        lines[2] = lines[2].replace('"turns":[', '"turns":[7,')
        lines[3] = '{"key": 5}'
        journal.write_text("\n".join(lines) + "\n")
        done = cairn(*arguments)
        self.assertEqual((done.returncode, done.stdout), (0, whole), done.stderr)
        self.assertIn("2 broken lines", done.stderr.decode())

    def test_bad_input(self):
        self.assert_error(NOT_FOUND, "S12", *SUITE, "--tasks", "S13")
        self.assert_error(TOO_LONG, "exceeds the model", "eval", "suite", "-m", MODEL, "--contexts", "512,100000")
        self.assert_error(USAGE, "do not fit into a context of 64", "eval", "suite", "-m", MODEL, "--contexts", "64")
        self.assert_error(TOO_LONG, "exceeds", *SUITE[:4], "--contexts", "1000000")
        self.assert_error(USAGE, "KV heads", *SUITE, "--recipes", "raw_f16+zero-heads=3")
        self.assert_error(USAGE, "negative", *SUITE, "--seed", "-1")
        self.assert_error(OUT_OF_BUDGET, "kv-budget", *SUITE, "--kv-budget", "1MiB")
        self.assert_error(USAGE, "no file", *SUITE, "--out", f"{self.folder}/")
        self.assert_error(UNSUPPORTED, "raw_f16", *SUITE, "--recipes", "zstd")
        self.assert_error(USAGE, "sessions", *SUITE, "--sessions", "0")
        self.assert_error(USAGE, "no chat template", *SUITE, "--form", "chat")
        self.assert_error(USAGE, "form", *SUITE, "--form", "verse")

    def test_items_are_json_lines(self):
        lines = self.output("eval", "items", "-m", MODEL, "--contexts", "512", "--sessions", "2", "--turns", "2",
                            "--tasks", "S1,S7").decode().splitlines()
        sessions = [json.loads(line) for line in lines]
        self.assertEqual([(s["task"], s["index"], len(s["turns"])) for s in sessions],
                         [("S1", 0, 2), ("S1", 1, 2), ("S7", 0, 2), ("S7", 1, 2)])


class Data(CommandLine):
    def suite(self, path, *arguments):
        done = cairn("eval", "suite", "-m", MODEL, "--contexts", "512", "--json", "--data", path, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return json.loads(done.stdout), done.stderr.decode()

    def test_squad(self):
        qas = [{"question": f"What is the code of {word}?", "answers": [{"text": code, "answer_start": 0}]}
               for word, code in (("river", "5931"), ("garden", "2784"))]
        context = "The code of river is 5931.\nThe code of garden is 2784."
        path = self.file("little.json", json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}).encode())
        report, _ = self.suite(path, "--tasks", "none")
        cells = [c for c in report["recipes"][0]["cells"] if c["turn"]]
        self.assertEqual({cell["task"] for cell in cells}, {"little"})
        self.assertEqual([cell["items"] for cell in cells], [1, 1, 1, 1])

    def test_passkey_is_cut_around_the_needle(self):
        hay = "The grass is green. The sky is blue.\n" * 300
        lines = [json.dumps({"input": hay[:5550] + f"The pass key is {key}. Remember it. {key} is the pass key.\n" + hay,
                             "target": key}) for key in ("74509", "12345")]
        report, said = self.suite(self.file("keys.jsonl", "\n".join(lines).encode()), "--tasks", "none")
        self.assertIn("2 haystacks cut", said)
        cells = [c for c in report["recipes"][0]["cells"] if c["depth"] is not None]
        self.assertEqual({cell["depth"] for cell in cells}, {1})  # a third of the way, as in the file

    def test_scbench_choices_are_made_by_logits(self):
        turns = [{"input": "Where does Anna live?", "answer": "Rome", "options": ["Paris", "Rome", "Oslo", "Lima"]},
                 {"input": "Where does Anna live?", "answer": "B", "options": ["Paris", "Rome", "Oslo", "Lima"]},
                 {"input": "Where does Anna live?", "answer": ""}]
        line = json.dumps({"context": "Anna lives in Rome.", "multi_turns": turns})
        report, _ = self.suite(self.file("mc.jsonl", line.encode()), "--tasks", "none")
        cells = report["recipes"][0]["cells"]
        self.assertEqual({cell["depth"] for cell in cells}, {None})  # nobody knows where the answer stands
        self.assertEqual([cell["answer_tokens"] for cell in cells], [0] * 4)  # two turns, two modes; no empty gold
        self.assertEqual({cell["accuracy"]["value"] for cell in cells if cell["mode"] == "multi-request"}
                         | {cells[0]["accuracy"]["value"]}, {cells[0]["accuracy"]["value"]})

    def test_one_question_each(self):
        lines = [json.dumps({"context": "The code of river is 5931.\nThe code of garden is 2784.", "answer": code,
                             "question": question, "kind": kind})
                 for question, code, kind in (("What is the code of river?", "5931", "asked"),
                                              ("Question: Code?\nAnswer: The code of garden is", "2784", "led"))]
        report, _ = self.suite(self.file("one.jsonl", "\n".join(lines).encode()), "--tasks", "none")
        cells = [c for c in report["recipes"][0]["cells"] if c["turn"]]
        self.assertEqual({(cell["task"], cell["column"]) for cell in cells}, {("one", "asked"), ("one", "led")})

    def test_wrong_formats(self):
        run = ("eval", "suite", "-m", MODEL, "--contexts", "512", "--tasks", "none", "--data")
        for name, data, words in (("a", b"", "no session"), ("b", b"hello\n", "line 1 is no JSON"),
                                  ("c", b'{"a": 1}\n', "line 1 has none"), ("d", b'{"data": 5}', "data is no list"),
                                  ("e", b'{"input": 1, "target": "2"}\n', "line 1: input is no text"),
                                  ("f", b"\xff\xfe\x00", "line 1"),
                                  ("g", b'{"context": "x", "multi_turns": [{"input": "y"}]}',
                                   "line 1: multi_turns[0].answer is missing"),
                                  ("k", b'{"context": "x", "question": "y"}', "line 1: answer is missing"),
                                  ("l", b'{"context": "x", "question": "y", "answer": " "}', "no session"),
                                  ("h", b'{"input": "x", "target": "2"}\n{"input"\n', "line 2"),
                                  ("i", b'{"context": "x", "multi_turns": [{"input": "y", "answer": ""}]}', "no session"),
                                  ("j", b'{"context": ' + b"[" * 400000 + b"]" * 400000 + b"}", "line 1")):
            with self.subTest(data=data):
                self.assert_error(CORRUPT, words, *run, self.file(name, data))
        self.assert_error(NOT_FOUND, "nowhere", *run, self.folder / "nowhere")
        self.assert_error(USAGE, "named like a task", *run, self.file("S1.jsonl", b'{"input": "x", "target": "2"}\n'))
        long = json.dumps({"context": "word " * 5000, "multi_turns": [{"input": "y", "answer": "z"}]}).encode()
        self.assert_error(TOO_LONG, "no session fits", *run, self.file("long", long))


if __name__ == "__main__":
    unittest.main()

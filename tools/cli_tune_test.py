#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cairn tune budgets` from outside, and where its profiles go. CAIRN_BINARY names the binary."""
import json
import re
import tomllib
import unittest

from cli_test import (CORRUPT, DOCUMENT, IO, MODEL, NOT_FOUND, QUESTION, UNSUPPORTED, USAGE, CommandLine,
                      cairn)


class Budgets(CommandLine):
    def setUp(self):
        super().setUp()
        self.text = self.file("text.txt", (DOCUMENT * 6).encode())
        self.profile = self.folder / "budgets.toml"

    def tune(self, *more):
        return self.output("tune", "budgets", "-m", MODEL, self.text, "-o", self.profile, "--windows", "3", "--context",
                           "256", *more)

    def test_writes_a_profile_and_says_how_to_use_it(self):
        said = self.tune().decode()
        written = tomllib.loads(self.profile.read_text())
        layers = len(written["shares"])
        self.assertEqual(written["cairn_budgets"], 1)
        self.assertEqual(written["found"]["policy"], "prefixkv")
        self.assertAlmostEqual(sum(written["shares"]) / layers, written["keep"], delta=1e-4)
        self.assertAlmostEqual(written["keep"], 0.25, delta=0.02)
        self.assertIn(f"--policy NAME+profile={self.profile}", said)
        bars = [line for line in said.splitlines() if line.endswith("#")]
        self.assertEqual(len(bars), layers)

    def test_json_and_other_rules(self):
        for rule in ("entropy", "pyramid"):
            report = json.loads(self.tune("--policy", "keydiff", "--budget", rule, "--keep", "0.5", "--json"))
            self.assertEqual(report["format"], "cairn.tune.budgets.v1")
            self.assertEqual(report["policy"], f"keydiff+keep=0.5+budget={rule}")
            self.assertEqual(report["shares"], tomllib.loads(self.profile.read_text())["shares"])
        self.assertGreater(report["shares"][0], report["shares"][-1])

    def test_windows_that_would_overlap_are_left_out_and_that_is_said(self):
        for context in (256, 64):
            done = cairn("tune", "budgets", MODEL, self.text, "-o", self.profile, "--windows", 10000, "--context", context)
            self.assertEqual(done.returncode, 0, done.stderr)
            said = re.fullmatch(r"cairn: the text has (\d+) tokens, so it is measured on (\d+) windows? of (\d+) instead of "
                                r"10000: more would overlap\n", done.stderr.decode())
            tokens, measured = int(said[1]), int(said[2])
            self.assertEqual(measured, tokens // context)
            self.assertRegex(self.profile.read_text(), f"\\b{measured} windows? of {context} tokens")

    def test_a_profile_is_used_everywhere(self):
        self.tune()
        policy = f"snapkv+keep=0.5+profile={self.profile}"
        run = json.loads(self.output("run", MODEL, "-p", DOCUMENT + QUESTION, "-n", "4", "--temp", "0", "--policy", policy,
                                     "--json"))
        self.assertIn(policy, json.dumps(run))
        self.output("bench", MODEL, "--prefill", "300", "--decode", "4", "--repeat", "1", "--policy", policy)
        recipe = f"raw_f16+policy=snapkv/keep=0.5/profile={self.profile}"
        done = json.loads(self.output("eval", "ppl", MODEL, self.text, "--recipes", recipe, "--contexts", "128",
                                      "--windows", "1", "--json"))
        self.assertIn(recipe, json.dumps(done))

    def test_what_is_wrong_is_said(self):
        def refuse(status, words, *arguments, text=self.text, output=self.profile):
            self.assert_error(status, words, "tune", "budgets", MODEL, text, "-o", output, *arguments)
        refuse(USAGE, "it keeps every token", "--policy", "quest")
        refuse(USAGE, "'budget' is given twice", "--policy", "prefixkv+budget=entropy", "--budget", "prefix")
        refuse(USAGE, "--budget", "--budget", "ada")
        refuse(USAGE, "a profile is named *.toml", output=self.folder / "budgets")
        refuse(USAGE, "a window", "--context", "100000")
        refuse(NOT_FOUND, "none.txt", text=self.folder / "none.txt")
        refuse(IO, "no/such", "--windows", "1", "--context", "64", output="/no/such/folder/x.toml")

    def test_a_text_that_is_not_utf8_is_refused_by_all_that_measure(self):
        for data, byte in ((b"ab" * 500 + b"\xff\xfe", 1000), (b"abc\xc3", 3)):
            text = self.file("bin.txt", data)
            for command in (("tune", "budgets", MODEL, text, "-o", self.profile),
                            ("tune", "plan", MODEL, text, "-o", self.folder / "plan.toml", "--bits", "4"),
                            ("tune", "codebooks", MODEL, text, "-o", self.folder / "books.bin"),
                            ("tune", "rotate", MODEL, text, "-o", self.folder / "books.axes"),
                            ("eval", "kld", MODEL, text, "--recipes", "tok4"), ("eval", "ppl", MODEL, text)):
                self.assert_error(CORRUPT, f"bin.txt' is no UTF-8 text: byte {byte}", *command)

    def test_a_profile_of_another_model_is_refused(self):
        self.tune()
        text = self.profile.read_text()
        digest = tomllib.loads(text)["model"]
        other = self.file("other.toml", text.replace(digest, "0" * 64).encode())
        ask = ("run", MODEL, "-p", "x", "-n", "1", "--policy")
        self.assert_error(USAGE, "its profile is for another model", *ask, f"tova+profile={other}")
        self.assert_error(USAGE, "its profile is for another model", "bench", MODEL, "--prefill", "8", "--decode", "2",
                          "--repeat", "1", "--policy", "tova", "--policy", f"tova+profile={other}")
        few = self.file("few.toml", b"cairn_budgets = 1\nkeep = 0.5\nshares = [0.5]\n")
        self.assert_error(USAGE, "its profile is for 1 layers", *ask, f"tova+profile={few}")
        plan = self.file("plan.toml", b"cairn_plan = 1\nkeys = ['tok4']\nvalues = ['tok4']\n")
        self.assert_error(USAGE, "this is no profile of budgets", *ask, f"tova+profile={plan}")
        self.assert_error(NOT_FOUND, "none.toml", *ask, f"tova+profile={self.folder / 'none.toml'}")
        self.assert_error(USAGE, "ends in .toml", *ask, "tova+profile=budgets")


class TuneCold(CommandLine):
    def setUp(self):
        super().setUp()
        self.text = self.file("text.txt", b"A lake lay still behind the hill, and nobody came. " * 260)
        self.tables = self.folder / "model.cold"

    def fit(self, *arguments, output=None):
        return self.output("tune", "cold", MODEL, self.text, "--tokens", "1024", "--window", "512", "-o",
                           output or self.tables, *arguments)

    def test_a_store_in_a_cold_form_gives_back_what_was_computed(self):
        report = json.loads(self.fit("--bits", "2", "--json", "-t", "2"))
        self.assertEqual(report["format"], "cairn.tune.cold.v1")
        self.assertLessEqual(report["bits"], 2)
        self.assertGreater(report["bits"], 1.8)
        other = self.folder / "other.cold"
        self.assertIn("--store-codec", self.fit("--bits", "2", "-t", "1", output=other).decode())
        self.assertEqual(self.tables.read_bytes(), other.read_bytes())

        prompt = "A lake lay still behind the hill, and a boat came. " * 20
        ask = ["run", MODEL, "-p", prompt, "-n", "8", "--json"]
        cold = ["--store-codec", self.tables]
        computed = json.loads(self.output(*ask, *cold))
        stores = {}
        for name, form in ("cold", cold), ("exact", []):
            stores[name] = self.folder / name
            first = json.loads(self.output(*ask, *form, "--store", stores[name]))
            again = json.loads(self.output(*ask, *form, "--store", stores[name]))
            self.assertEqual(first["reused_tokens"], 0)
            self.assertGreater(again["reused_tokens"], 64)
            self.assertEqual(first["text"], again["text"])
            if name == "cold":
                self.assertEqual(first["text"], computed["text"])
        size = {name: sum(f.stat().st_blocks for f in store.glob("segments/*")) for name, store in stores.items()}
        self.assertLess(size["cold"] * 2, size["exact"])
        # Blocks of one recipe are nothing to another.
        strange = json.loads(self.output(*ask, *cold, "--store", stores["exact"]))
        self.assertEqual(strange["reused_tokens"], 0)
        judged = json.loads(self.output("eval", "kld", MODEL, self.text, "--recipes", f"raw_f16+cold={self.tables}",
                                        "--contexts", "256", "--windows", "1", "--json"))
        self.assertGreater(judged["rows"][0]["stored_bits_per_value"], 0)
        self.assertLess(judged["rows"][0]["stored_bits_per_value"], 8)

    def test_what_is_wrong_is_said(self):
        self.fit("--bits", "2")
        run = ["run", MODEL, "-p", "x"]
        damaged = bytearray(self.tables.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        self.assert_error(CORRUPT, "truncated or damaged", *run, "--store-codec", self.file("broken.cold", bytes(damaged)))
        self.assert_error(USAGE, "not for codec 'pq4'", *run, "--codec", f"pq4+codebooks={self.tables}")
        self.assert_error(USAGE, "recent=N", *run, "--codec", "tok4+recent=1", "--store-codec", self.tables)
        self.assert_error(UNSUPPORTED, "'zip' does not work with a cold form", *run, "--codec", "zip", "--store-codec",
                          self.tables)
        self.assert_error(NOT_FOUND, "none.cold", *run, "--store-codec", self.folder / "none.cold")
        self.assert_error(USAGE, "no form", *run, "--store-codec", "")
        self.assert_error(USAGE, "without it", *run, "--store-codec", "a+b.cold")
        self.assert_error(USAGE, "--bits", "tune", "cold", MODEL, self.text, "-o", self.tables, "--bits", "0.1")
        self.assert_error(USAGE, "too few to train on", "tune", "cold", MODEL, self.text, "-o", self.tables, "--tokens",
                          "100")


class TuneRotate(CommandLine):
    def setUp(self):
        super().setUp()
        self.text = self.file("text.txt", b"A lake lay still behind the hill, and nobody came. " * 260)
        self.axes = self.folder / "model.axes"

    def rotate(self, *arguments, output=None):
        return self.output("tune", "rotate", MODEL, self.text, "--tokens", "1024", "--window", "512", "-o",
                           output or self.axes, *arguments)

    def test_axes_are_fitted_used_and_the_same_for_any_number_of_threads(self):
        report = json.loads(self.rotate("--bits", "2.5", "--json", "-t", "2"))
        self.assertEqual(report["format"], "cairn.tune.rotate.v1")
        self.assertLessEqual(report["bits"], 2.5)
        self.assertGreater(report["bits"], 2.3)
        other = self.folder / "other.axes"
        self.assertIn("--codec axes+codebooks=", self.rotate("--bits", "2.5", "-t", "1", output=other).decode())
        self.assertEqual(self.axes.read_bytes(), other.read_bytes())
        recipe = f"axes+codebooks={self.axes}"
        done = json.loads(self.output("eval", "kld", MODEL, self.text, "--recipes", f"raw_f16,{recipe}", "--contexts",
                                      "256", "--windows", "1", "--json"))
        self.assertIn(recipe, json.dumps(done))
        self.output("run", MODEL, "-p", "A lake " * 100, "-n", "4", "--codec", recipe)

        damaged = bytearray(self.axes.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        broken = self.file("broken.axes", bytes(damaged))
        self.assert_error(CORRUPT, "truncated or damaged", "run", MODEL, "-p", "x", "--codec",
                          f"axes+codebooks={broken}")
        self.assert_error(USAGE, "not for codec 'pq4'", "run", MODEL, "-p", "x", "--codec",
                          f"pq4+codebooks={self.axes}")

    def test_what_is_wrong_is_said(self):
        def refuse(status, words, *arguments, text=self.text, output=self.axes):
            self.assert_error(status, words, "tune", "rotate", MODEL, text, "-o", output, *arguments)
        refuse(USAGE, "--bits", "--bits", "0.5")
        refuse(USAGE, "--bits", "--bits", "16")
        refuse(USAGE, "too few to train on", "--tokens", "100")
        refuse(NOT_FOUND, "none.txt", text=self.folder / "none.txt")
        self.assert_error(UNSUPPORTED, "cairn tune rotate", "run", MODEL, "-p", "x", "--codec", "axes")
        self.assert_error(UNSUPPORTED, "cairn tune rotate", "tune", "codebooks", MODEL, self.text, "-o",
                          self.axes, "--codec", "axes")


if __name__ == "__main__":
    unittest.main()

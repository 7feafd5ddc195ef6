#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cairn eval board` from outside: the quick run end to end, going on after a stop, what is refused, and the page as
Chromium renders it. CAIRN_BINARY names the binary."""
import html
import json
import os
import re
import unittest
from pathlib import Path

import eval_report_test
from cli_test import MODEL, UNSUPPORTED, USAGE, CommandLine, cairn
from eval_report_test import CHROMIUM, MEASURE

BOARD = ("eval", "board", MODEL)
SHORT = (*BOARD, "--contexts", "256", "--tasks", "S1", "--sessions", "2", "--turns", "2", "--budgets", "0.5", "--no-controls")
SMALL = (*SHORT, "--codecs", "raw_f16", "--policies", "keydiff,quest")

# After the page has drawn itself: a policy goes, the rows are sorted by what they read.
USE = """
const boxes = [...document.querySelectorAll('[data-field=policy] label')];
boxes.find(label => label.textContent === 'quest').querySelector('input').click();
document.querySelectorAll('.board thead button')[7].click();
document.querySelectorAll('.board thead button')[7].click();
const lines = document.createElement('pre');
lines.id = 'lines';
lines.textContent = JSON.stringify([...document.querySelectorAll('.board tbody tr')].map(row => [...row.children].map(c => c.firstChild.textContent)));
document.body.append(lines);
"""


def steady(text):
    """A board without the figures of time, which no two runs share."""
    board = json.loads(text)
    del board["busy"]
    for row in board["rows"]:
        del row["busy"]
    return board


class Board(CommandLine):
    def test_quick_run(self):
        out = self.folder / "quick"
        board = json.loads(self.output(*BOARD, "--quick", "--out", out, "--json"))
        self.assertEqual(json.loads(Path(f"{out}.json").read_text()), board)
        self.assertEqual(board["format"], "cairn.eval.board.v1")
        self.assertEqual(board["command"], f"cairn eval board --model {MODEL} --out {out} --json --quick")
        self.assertEqual(len(board["model"]["weights_digest"]), 64)
        rows = {row["recipe"]: row for row in board["rows"]}
        self.assertEqual(len(rows), 1 + (3 + 2) * 2 + 1 + 1 + (3 + 2) * 2 + 1)  # two codecs: alone, policies and controls, full
        exact = rows["raw_f16"]
        # A policy that keeps and reads everything changes nothing, on any codec.
        for codec in ("raw_f16", "tok4"):
            same = ("scores", "bytes_held", "kept", "read_fraction", "bytes_read")
            self.assertEqual([rows[codec][name] for name in same], [rows[codec + "+policy=full"][name] for name in same])
        for row in rows.values():
            if row["family"] != "read selection":  # which keeps boxes of keys beside the pages, and reads them all
                self.assertLessEqual(row["bytes_held"], exact["bytes_held"])
                self.assertAlmostEqual(row["bytes_read"], row["bytes_held"] * row["read_fraction"])
            self.assertGreater(row["busy"]["tokens_per_second"], 0)
            self.assertEqual({(score["mode"], score["turn"]) for score in row["scores"]},
                             {(mode, turn) for mode in ("multi-turn", "multi-request") for turn in (None, 1, 2)})
        self.assertEqual(sum(score["lost"] + score["won"] for score in exact["scores"]), 0)
        half, eighth = rows["raw_f16+policy=keydiff/keep=0.5"], rows["raw_f16+policy=keydiff/keep=0.125"]
        self.assertAlmostEqual(half["kept"], 0.5, delta=0.02)
        self.assertLess(eighth["bytes_held"], half["bytes_held"])
        self.assertLess(half["bytes_held"], 0.75 * exact["bytes_held"])
        reads = rows["tok4+policy=quest/keep=0.125"]
        boxes = reads["bytes_held"] - rows["tok4"]["bytes_held"]
        self.assertGreater(boxes, 0)
        self.assertAlmostEqual(reads["bytes_read"], rows["tok4"]["bytes_held"] * reads["read_fraction"] + boxes)
        self.assertLess(reads["read_fraction"], 0.7)
        self.assertEqual(reads["kept"], 1)
        self.assertIn("| `tok4+policy=full`, control | 1 |", Path(f"{out}.md").read_text())

    def test_goes_on_after_a_stop(self):
        whole = steady(self.output(*SMALL, "--json"))
        out = self.folder / "run"
        self.output(*SMALL, "--out", out, "--json")
        first = Path(f"{out}.json").read_bytes()
        # Everything is in the journal, times too: nothing is asked again, and no byte is another.
        done = cairn(*SMALL, "--out", out, "--json")
        self.assertEqual((done.returncode, done.stdout), (0, first))
        self.assertIn(b"going on after 6 sessions", done.stderr)
        journal = Path(f"{out}.journal")
        journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:4]))
        done = cairn(*SMALL, "--out", out, "--json")
        self.assertIn(b"going on after 3 sessions", done.stderr)
        again = steady(done.stdout)
        self.assertEqual(again["rows"], whole["rows"])
        self.assertEqual({**again, "command": ""}, {**whole, "command": ""})
        other = cairn(*SMALL, "--seed", "2", "--out", out)
        self.assertIn(b"belongs to another run", other.stderr)

    def test_bad_input(self):
        self.assert_error(USAGE, "nothing", *BOARD, "--policies", "nothing")
        self.assert_error(USAGE, "budget 0: a budget is the share", *BOARD, "--budgets", "0.5,0")
        self.assert_error(USAGE, "budget 2:", *BOARD, "--budgets", "2")
        self.assert_error(USAGE, "its share is the budget", *BOARD, "--policies", "quest/keep=0.5")
        self.assert_error(UNSUPPORTED, "tok99", *BOARD, "--codecs", "tok99")
        self.assert_error(USAGE, "cannot be", *BOARD, "--out", f"{self.folder}/")

    def test_what_a_codec_cannot_follow_is_left_out(self):
        done = cairn(*SHORT, "--policies", "keydiff", "--codecs", "zip", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr.decode(), r"\Acairn: policy keydiff on zip is left out: [^\n]+\n\Z")
        board = json.loads(done.stdout)
        self.assertEqual([row["recipe"] for row in board["rows"]], ["raw_f16", "zip"])
        self.assertEqual(len(board["settings"]["left_out"]), 1)


@unittest.skipIf(CHROMIUM is None and "CI" not in os.environ, "no chromium; tools/install_deps.sh browser installs it")
class Rendered(CommandLine):
    dom = eval_report_test.Rendered.dom
    assert_legible = eval_report_test.Rendered.assert_legible

    def file(self, name, data):
        return super().file(name, data.encode() if isinstance(data, str) else data)

    def setUp(self):
        super().setUp()
        out = self.folder / "run"
        self.board = json.loads(self.output(*SMALL, "--out", out, "--json"))
        self.page = Path(f"{out}.html").read_text()

    def rendered(self, script, element):
        policy = re.search(r"<meta http-equiv=\"Content-Security-Policy\"[^\n]*\n", self.page)
        self.assertIn("default-src 'none'", policy[0])
        found, said = self.dom(self.page.replace(policy[0], "").replace("</body>", f"<script>{script}</script></body>"))
        shown = re.search(rf'<pre id="{element}">(.*?)</pre>', found, re.DOTALL)
        self.assertIsNotNone(shown, said[-2000:])
        return json.loads(html.unescape(shown[1]))

    def test_marks_are_the_rows(self):
        shown = self.rendered(MEASURE, "measured")
        self.assert_legible(shown)
        self.assertEqual(list(shown["svgs"]), ["plot-held", "plot-read", "plot-speed"])
        for svg in shown["svgs"].values():
            self.assertCountEqual(svg["points"], ["raw_f16", "raw_f16 keydiff 0.5", "raw_f16 quest 0.5"])
        self.assertEqual((shown["captions"], shown["images"], shown["resources"]), (0, 0, []))
        self.assertLessEqual(*shown["width"])
        names = {row["recipe"]: row["recipe"] if row["policy"] is None else f"{row['codec']} {row['policy']} {row['budget']}"
                 for row in self.board["rows"]}
        for plot, front in (("held", self.board["fronts"]["bytes_held"]), ("read", self.board["fronts"]["bytes_read"]),
                            ("speed", self.board["busy"]["front"])):
            self.assertCountEqual(shown["svgs"][f"plot-{plot}"]["best"], [names[recipe] for recipe in front], plot)

    def test_filters_and_sorting(self):
        lines = self.rendered(USE, "lines")
        self.assertEqual([line[0] for line in lines], ["raw_f16+policy=keydiff/keep=0.5", "raw_f16"])

    def test_draws_under_its_own_policy(self):
        found, said = self.dom(self.page)
        self.assertEqual(found.count("<svg id="), 3)
        self.assertNotIn("CONSOLE", said)


if __name__ == "__main__":
    unittest.main()

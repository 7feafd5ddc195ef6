#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cairn replay --plot: the page as Chromium renders it. CAIRN_BINARY names the binary."""
import html
import json
import re
import subprocess
import unittest

import eval_report_test
from cli_replay_test import mooncake
from eval_report_test import BINARY, CHROMIUM, HOSTILE, MEASURE, Report

CAPACITIES = "4,8,16,400"
POLICIES = ["lru", "s3fifo", "cost", "optimal"]


@unittest.skipIf(CHROMIUM is None, "no chromium to open the page with; tools/install_deps.sh browser installs it")
class Rendered(Report):
    dom = eval_report_test.Rendered.dom
    assert_legible = eval_report_test.Rendered.assert_legible

    def replayed(self, *names):
        lines = mooncake(*[[i % 7, 10 + i % 7, 100 + i] for i in range(50)])
        for name in names:
            (self.folder / name).write_bytes(lines)
        done = subprocess.run([BINARY, "replay", *names, "--capacity", CAPACITIES, "--plot", self.page], capture_output=True,
                              timeout=60, cwd=self.folder)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return self.page.read_text()

    def measured(self, page, width=1200):
        policy = re.search(r"<meta http-equiv=\"Content-Security-Policy\"[^\n]*\n", page)
        page = page.replace(policy[0], "").replace("</body>", f"<script>{MEASURE}</script></body>")
        found, said = self.dom(page, width=width)
        measured = re.search(r'<pre id="measured">(.*?)</pre>', found, re.DOTALL)
        self.assertIsNotNone(measured, said[-2000:])
        return json.loads(html.unescape(measured[1]))

    def test_curves_are_the_data(self):
        for width in (1200, 500):
            shown = self.measured(self.replayed("trace.jsonl"), width)
            self.assert_legible(shown)
            self.assertEqual(list(shown["svgs"]), ["trace-1-blocks", "trace-1-tokens"])
            for svg in shown["svgs"].values():
                self.assertCountEqual(svg["points"], POLICIES * len(CAPACITIES.split(",")))
            self.assertEqual((shown["captions"], shown["images"], shown["resources"]), (0, 0, []))
            self.assertLessEqual(*shown["width"])
        self.assertIn("16 blocks, s3fifo", shown["text"])

    def test_draws_under_its_own_policy_and_names_stay_text(self):
        name = HOSTILE.replace("/", "_")
        page = self.replayed(name, "other.jsonl")
        self.assertEqual(len(re.findall("(?i)</?script", page)), 4)
        found, said = self.dom(page)
        self.assertEqual(found.count("<svg id="), 4)
        self.assertNotIn("CONSOLE", said)
        self.assertNotIn("<title>owned", found)


if __name__ == "__main__":
    unittest.main()

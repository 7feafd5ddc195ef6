#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cairn eval report: input that is wrong and output that cannot be. CAIRN_BINARY names the binary."""
import json
import os
import resource
import stat
import unittest

import eval_report_samples as samples
from eval_report_test import CORRUPT, Report, report

USAGE, NOT_FOUND, IO, UNSUPPORTED = 2, 3, 4, 6


class BadInput(Report):
    def test_usage(self):
        self.assert_error(USAGE, "--help")
        self.assert_error(USAGE, "output", self.file("a.json", samples.kld()))

    def test_output_over_an_input(self):
        path = self.file("a.json", samples.kld())
        self.assert_error(USAGE, "a.json", path, "-o", path)
        self.assertEqual(json.loads(path.read_text()), samples.kld())

    def test_files_that_are_none(self):
        self.assert_error(NOT_FOUND, "nowhere.json", self.folder / "nowhere.json", "-o", self.page)
        self.assert_error(IO, str(self.folder), self.folder, "-o", self.page)

    def test_output_that_cannot_be(self):
        path = self.file("a.json", samples.kld())
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        for output in (self.folder, pipe, self.folder / "no/such/report.html"):
            with self.subTest(output=output):
                self.assert_error(IO, str(output), path, "-o", output)
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.json", "pipe"])
        self.assertTrue(stat.S_ISFIFO(pipe.stat().st_mode))

    def test_no_half_page_on_a_full_disk(self):
        def small_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

        path = self.file("a.json", samples.kld())
        self.page.write_text("old")
        # Python ignores the signal that comes with the limit; so does the command then, and its write fails.
        self.assert_error(IO, "too large", path, "-o", self.page, preexec_fn=small_files, restore_signals=False)
        self.assertEqual(self.page.read_text(), "old")
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.json", "report.html"])

    def test_no_json(self):
        for text in ("", "{", "no", "\x00", '{"format": NaN}', '{"format": 1e999}', "[" * 1000000,
                     json.dumps(samples.kld())[:-1]):
            with self.subTest(text=text[:20]):
                self.refuse(CORRUPT, "JSON", text)

    def test_other_formats(self):
        for result in ({}, [], None, 3, {"format": None}):
            self.refuse(CORRUPT, "", result)
        self.refuse(UNSUPPORTED, "cairn.eval.kld.v2", {"format": "cairn.eval.kld.v2"})
        self.refuse(UNSUPPORTED, "cairn.eval.suite.v1", {"format": "x\n\x1b[31m" * 100})

    def test_no_results(self):
        self.refuse(NOT_FOUND, "no results", samples.kld([]))
        self.refuse(NOT_FOUND, "no results", samples.suite([], []))
        empty = samples.suite()
        for recipe in empty["recipes"]:
            recipe["cells"] = []
        self.refuse(NOT_FOUND, "no results", empty)

    def every_field(self, json_value, place=""):
        """(container, key, place as the message names it), of the first of equal elements."""
        entries = json_value.items() if isinstance(json_value, dict) else list(enumerate(json_value))[:1]
        for key, value in entries:
            name = f"{place}[{key}]" if isinstance(key, int) else f"{place}.{key}".lstrip(".")
            yield json_value, key, name
            if isinstance(value, (dict, list)) and name != "settings":
                yield from self.every_field(value, name)

    def test_each_field_must_be_there_and_of_its_type(self):
        for make in (lambda: samples.kld(samples.RECIPES[1:2], contexts=(64,)),
                     lambda: samples.suite(samples.RECIPES[1:2], [], contexts=(64,))):
            for number in range(sum(1 for _ in self.every_field(make()))):
                result = make()
                container, key, place = list(self.every_field(result))[number]
                if not isinstance(container, dict):
                    continue
                with self.subTest(place=place):
                    old = container.pop(key)
                    self.refuse(CORRUPT, f"{place} is missing", result)
                    container[key] = "text" if not isinstance(old, str) else 7
                    self.refuse(CORRUPT, place, result)

    def test_numbers_out_of_range(self):
        changes = {"bytes_per_token": (-1, 1e30), "context": (-1, 0.5, 1e300, True), "same_top1": (
            samples.interval(1.5, 0), {"value": 0.5, "low": 0.6, "high": 0.4}, None, {}), "kl": ({}, [], None)}
        for name, values in changes.items():
            for value in values:
                with self.subTest(name=name, value=value):
                    result = samples.kld()
                    result["rows"][2][name] = value
                    self.refuse(CORRUPT, f"rows[2].{name}", result)
        result = samples.kld()
        result["rows"][0]["kl"]["mean"]["value"] = -0.5
        self.refuse(CORRUPT, "rows[0].kl.mean.value is -0.5", result)

    def test_cells_that_contradict_themselves(self):
        for change in ({"turn": None}, {"depth": 2}, {"mode": "both"}, {"accuracy": None}, {"lost": 11},
                       {"retained": {"items": 3, "kept": 4, "interval": None}}):
            with self.subTest(change=change):
                result = samples.suite(samples.RECIPES[:1], [], contexts=(64,))
                result["recipes"][0]["cells"][0] |= change
                self.refuse(CORRUPT, "recipes[0].cells[0].", result)
                self.refuse(CORRUPT, next(iter(change)), result)


if __name__ == "__main__":
    unittest.main()

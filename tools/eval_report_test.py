#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cairn eval report: the page as Chromium renders it, and input that is wrong. CAIRN_BINARY names the binary."""
import json
import os
import re
import resource
import shutil
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

import eval_report_samples as samples

ROOT = Path(__file__).resolve().parent.parent
BINARY = os.environ.get("CAIRN_BINARY", str(ROOT / "build/release/bin/cairn"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
USAGE, NOT_FOUND, IO, CORRUPT, UNSUPPORTED = 2, 3, 4, 5, 6
HOSTILE = "</title><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&\u202egnp"

# Runs in the page: what is drawn where. Text must lie within its picture, and no label over another.
MEASURE = """
const round = box => [box.left, box.top, box.right, box.bottom].map(v => Math.round(v * 10) / 10);
const shown = {title: document.title, scripts: document.scripts.length - 1, images: document.images.length,
               width: [document.documentElement.scrollWidth, innerWidth],
               headings: [...document.querySelectorAll('h1,h2,h3')].map(e => e.textContent),
               captions: [...document.querySelectorAll('table')].filter(t => !t.caption).length,
               summary: [...document.querySelectorAll('table.summary tbody tr')].map(
                   r => [...r.children].map(c => (c.firstChild.textContent || c.firstChild.data || '').trim())),
               heat: document.querySelectorAll('table.heat td').length,
               resources: performance.getEntriesByType('resource').map(e => e.name), svgs: {}};
for (const svg of document.querySelectorAll('svg')) {
  const frame = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].map(e => ({text: e.textContent, label: e.matches('.label'),
                                                           box: round(e.getBoundingClientRect())}));
  shown.svgs[svg.id] = {frame: round(frame), texts, name: svg.getAttribute('aria-labelledby').split(' ').map(
                          id => document.getElementById(id).textContent),
                        points: [...svg.querySelectorAll('.point')].map(e => e.dataset.recipe),
                        best: [...svg.querySelectorAll('.point')].filter(e => e.querySelector('.dot.best')).map(
                          e => e.dataset.recipe),
                        centres: Object.fromEntries([...svg.querySelectorAll('.point')].filter(
                          e => e.querySelector('.dot')).map(e => [e.dataset.recipe, ['cx', 'cy'].map(
                          a => +e.querySelector('.dot').getAttribute(a))])),
                        whiskers: svg.querySelectorAll('.point .whisker').length,
                        steps: svg.querySelectorAll('.step').length};
}
const result = document.createElement('pre');
result.id = 'measured';
result.textContent = JSON.stringify(shown);
document.body.append(result);
"""


def report(*arguments, **options):
    return subprocess.run([BINARY, "eval", "report", *map(str, arguments)], capture_output=True, timeout=120, **options)


class Report(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.page = self.folder / "report.html"

    def file(self, name, result):
        path = self.folder / name
        path.write_text(result if isinstance(result, str) else json.dumps(result))
        return path

    def make(self, *results):
        files = [self.file(f"{i}.json", result) for i, result in enumerate(results)]
        done = report(*files, "-o", self.page)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
        return self.page.read_text()

    def assert_error(self, status, words, *arguments, **options):
        done = report(*arguments, **options)
        message = done.stderr.decode()
        self.assertEqual(done.returncode, status, message)
        self.assertEqual(done.stdout, b"")
        self.assertRegex(message, r"\Acairn: [^\n]+\n\Z")
        self.assertIn(words, message)

    def refuse(self, status, words, result):
        path = self.file("bad.json", result)
        self.assert_error(status, words, path, "-o", self.page)
        self.assert_error(status, "bad.json", path, "-o", self.page)
        self.assertEqual(os.listdir(self.folder), ["bad.json"])


class Rendered(Report):
    def setUp(self):
        super().setUp()
        if CHROMIUM is None:
            self.assertNotIn("CI", os.environ, "no chromium: tools/install_deps.sh browser")
            self.skipTest("no chromium to open the page with; tools/install_deps.sh browser installs it")

    def render(self, *results, width=1200):
        page = self.make(*results)
        # The page itself forbids scripts, so the one that measures needs a copy without that line.
        policy = re.search(r"<meta http-equiv=\"Content-Security-Policy\"[^\n]*\n", page)
        self.assertIn("default-src 'none'", policy[0])
        page = page.replace(policy[0], "").replace("</body>", f"<script>{MEASURE}</script></body>")
        copy = self.file("measured.html", page)
        done = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                               f"--user-data-dir={self.folder / 'profile'}", f"--window-size={width},2000",
                               "--dump-dom", copy.as_uri()], capture_output=True, timeout=120)
        found = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout.decode(), re.DOTALL)
        self.assertIsNotNone(found, done.stderr.decode()[-2000:])
        text = found[1]
        for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
            text = text.replace(entity, character)
        return json.loads(text)

    def assert_legible(self, shown):
        for name, svg in shown["svgs"].items():
            left, top, right, bottom = svg["frame"]
            self.assertTrue(all(svg["name"]), name)
            for entry in svg["texts"]:
                box = entry["box"]
                inside = left <= box[0] and top <= box[1] and box[2] <= right and box[3] <= bottom
                self.assertTrue(inside, (name, entry))
            labels = [entry for entry in svg["texts"] if entry["label"]]
            for i, a in enumerate(labels):
                for b in labels[:i]:
                    apart = (a["box"][2] <= b["box"][0] or b["box"][2] <= a["box"][0] or
                             a["box"][3] <= b["box"][1] + 1 or b["box"][3] <= a["box"][1] + 1)
                    self.assertTrue(apart, (name, a, b))

    def test_marks_are_the_data(self):
        shown = self.render(samples.kld(), samples.suite())
        self.assert_legible(shown)
        recipes = [entry[0] for entry in samples.RECIPES]
        controls = [f"{entry[0]} ({entry[1]})" for entry in samples.CONTROLS]
        divergence = shown["svgs"]["model-1-divergence"]
        self.assertCountEqual(divergence["points"], recipes)
        self.assertEqual(divergence["whiskers"], len(recipes) - 1)  # the exact cache has no interval
        retained = shown["svgs"]["model-1-retained"]
        self.assertCountEqual(retained["points"], recipes + controls)
        self.assertCountEqual(retained["centres"], recipes + controls[:1])  # no context: a level, not a point
        places = 2 * (5 + 5)  # modes, turns and fifths
        self.assertEqual(shown["svgs"]["model-1-turns"]["steps"], places * len(recipes + controls))
        self.assertEqual(shown["heat"], 2 * (len(samples.TASKS) + 1) * len(recipes + controls))
        self.assertEqual(len(shown["summary"]), len(recipes + controls))
        self.assertEqual(shown["headings"], [
            "KV-cache recipes: size and quality", "cairn-tiny", "Summary", "Size and divergence",
            "Size and retained accuracy", "Accuracy by turn and by depth", "Retained accuracy by task", "All figures"])
        self.assertEqual((shown["captions"], shown["scripts"], shown["images"], shown["resources"]), (0, 0, 0, []))

    def test_summary_joins_both_files(self):
        rows = {row[0]: row[1:] for row in self.render(samples.kld(), samples.suite())["summary"]}
        full, half = rows["int8_channel"], rows["raw_f16+evict=0.5"]
        self.assertEqual(full[:5], ["1560", "8.12", "4.7e-5", "99.7", "1.000"])
        suite = next(r for r in samples.suite()["recipes"] if r["recipe"] == "int8_channel")
        late = [c for c in suite["cells"] if c["mode"] == "multi-request" and (c["turn"] or 0) >= 2]
        items = sum(c["items"] for c in late)
        right = sum(round(c["accuracy"]["value"] * c["items"]) for c in late)
        kept = sum(c["retained"]["kept"] for c in late) / sum(c["retained"]["items"] for c in late)
        self.assertEqual(full[5:], [f"{right / items * 100:.1f}", f"{kept * 100:.1f}", str(items)])
        self.assertEqual(half[2:5], ["–"] * 3)

    def test_pareto_front_and_zero_band(self):
        svgs = self.render(samples.kld(), samples.suite())["svgs"]
        front = ["int2_group32", "int3_group32", "int4_group32", "int8_channel", "raw_f16"]
        self.assertEqual(svgs["model-1-divergence"]["best"], front)
        self.assertEqual(svgs["model-1-retained"]["best"], front)
        centres = svgs["model-1-divergence"]["centres"]
        self.assertIn("0", [entry["text"] for entry in svgs["model-1-divergence"]["texts"]])
        self.assertEqual(max(centres, key=lambda recipe: centres[recipe][1]), "raw_f16")  # 0 lies lowest
        self.assertLess(centres["raw_f16+value-bits=1"][1], centres["raw_f16+shift=4"][1])
        self.assertLess(centres["int2_group32"][0], centres["int3_group32"][0])

    def test_names_are_only_text(self):
        recipes = [(HOSTILE, 3072, 16, 0, 1), ("长" * 300, 1000, 5, 0.1, 0.5), ("a" * 4000, 1000, 5, 0.1, 0.5)]
        model = samples.model(HOSTILE)
        shown = self.render(samples.kld(recipes, model=model, text={"file": HOSTILE, "tokens": 1}, commit=HOSTILE,
                                        settings={HOSTILE: HOSTILE}),
                            samples.suite(recipes, [(HOSTILE, HOSTILE, 5, 5, 0.5)], model=model))
        self.assert_legible(shown)
        self.assertEqual(shown["title"], "KV-cache recipes: size and quality")
        self.assertEqual((shown["scripts"], shown["images"], shown["resources"]), (0, 0, []))
        self.assertIn(HOSTILE.replace("\u202e", "\ufffd"), shown["svgs"]["model-1-divergence"]["points"])

    def test_crowds_stay_legible(self):
        crowd = [(f"raw_f16+drop=0.{i:02}", 3072, 16, 0.1 + i / 1000, 0.5) for i in range(40)]
        same = [(f"twin_{i}", 1024, 8, 0.01, 0.9) for i in range(6)]
        shown = self.render(samples.kld(crowd + same), samples.suite(crowd[:4] + same, [], contexts=(512,), items=3))
        self.assert_legible(shown)
        self.assertEqual(len(shown["svgs"]["model-1-divergence"]["points"]), 46)

    def test_one_format_alone(self):
        shown = self.render(samples.kld(samples.RECIPES[:1], contexts=(64,)))
        self.assert_legible(shown)
        self.assertEqual(list(shown["svgs"]), ["model-1-divergence"])
        shown = self.render(samples.suite(samples.RECIPES[:1], [], contexts=(64,), items=1))
        self.assert_legible(shown)
        self.assertEqual(list(shown["svgs"]), ["model-1-retained", "model-1-turns"])

    def test_models_are_apart(self):
        other = samples.model("other", "ab" * 32)
        shown = self.render(samples.kld(), samples.kld(samples.RECIPES[:3], model=other), samples.suite())
        self.assert_legible(shown)
        self.assertEqual(len(shown["svgs"]["model-1-divergence"]["points"]), 8)
        self.assertEqual(len(shown["svgs"]["model-2-divergence"]["points"]), 3)

    def test_narrow_screen_scrolls_only_inside(self):
        shown = self.render(samples.kld(), samples.suite(), width=500)
        self.assertLessEqual(*shown["width"])


class RealResults(Report):
    """The files that the other commands write are the ones that are read."""

    def run_eval(self, name, *arguments):
        model = ROOT / "models/cairn-tiny-f16.gguf"
        done = subprocess.run([BINARY, "eval", name, "-m", model, "--json", *arguments], capture_output=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode()

    def test_kld_and_suite_are_joined(self):
        recipes = ["--recipes", "raw_f16,raw_f16+shift=2"]
        page = self.make(self.run_eval("kld", ROOT / "README.md", "--contexts", "64", "--windows", "2", *recipes),
                         self.run_eval("suite", "--contexts", "512", "--sessions", "1", "--turns", "2", "--tasks", "S1,S9",
                                       *recipes))
        rows = re.findall(r"<tr>.*?</tr>", re.search(r'<table class="summary">.*?</table>', page, re.DOTALL)[0])
        self.assertEqual(len(rows), 3)
        self.assertNotIn('class="none"', "".join(rows))  # every figure of every recipe


class Page(Report):
    def test_same_input_same_bytes(self):
        first = self.make(samples.kld(), samples.suite())
        self.assertEqual(first, self.make(samples.kld(), samples.suite()))

    def test_nothing_from_elsewhere(self):
        page = self.make(samples.kld(), samples.suite())
        self.assertNotRegex(page, r"(?i)https?:|\bsrc=|url\(|@import|<link|<script|//[a-z]")

    def test_the_same_file_twice_counts_once(self):
        def summary(page):
            return re.search(r'<table class="summary">.*?</table>', page, re.DOTALL)[0]
        self.assertEqual(summary(self.make(samples.kld(), samples.suite())),
                         summary(self.make(samples.kld(), samples.suite(), samples.suite(), samples.kld())))

    def test_only_like_is_compared(self):
        other = samples.kld(samples.RECIPES[:2], text={"file": "other.txt", "tokens": 288768})
        for row in other["rows"]:
            row["kl"]["mean"] |= {"value": 99.5, "high": 99.5}
        page = self.make(other, samples.kld())
        self.assertIn("Rows of other texts", page)
        self.assertEqual(page.count("99.500"), 2 * len(other["rows"]))  # value and interval, in the last table alone

    def test_items_that_differ_are_told(self):
        def with_more():
            result = samples.suite()
            result["recipes"][1]["cells"] = result["recipes"][1]["cells"][:60]
            return result
        self.assertNotIn("equally many", self.make(samples.suite()))
        self.assertIn("equally many", self.make(with_more()))

    def test_settings_of_one_level(self):
        page = self.make(samples.kld(settings={"seed": 1, "data": {"xquad": 3, "passkey": 4}, "skip": None, "list": []}))
        self.assertIn("seed 1 · data xquad 3, passkey 4</td>", page)
        self.refuse_settings({"data": {"xquad": [3]}})

    def refuse_settings(self, settings):
        path = self.file("bad.json", samples.kld(settings=settings))
        self.assert_error(CORRUPT, "settings.'data'", path, "-o", self.page)

    def test_no_items(self):
        self.make(samples.suite(samples.RECIPES[:2], [], items=0))

    def test_replaces_as_a_whole(self):
        self.page.write_text("old")
        link = self.folder / "link.html"
        link.symlink_to(self.page)
        done = report(self.file("a.json", samples.kld()), "-o", link)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(link.is_symlink())
        self.assertTrue(self.page.read_text().startswith("<!DOCTYPE html>"))
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.json", "link.html", "report.html"])
        self.assertEqual(stat.S_IMODE(self.page.stat().st_mode) & 0o111, 0)


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

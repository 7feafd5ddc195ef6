#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cairn eval report: the page as Chromium renders it. CAIRN_BINARY names the binary."""
import html
import json
import os
import re
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
CORRUPT = 5
HOSTILE = "</title><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&\u202egnp"

# Runs in the page: what is drawn where. Text must lie within its picture, and no label over another.
MEASURE = """
const round = box => [box.left, box.top, box.right, box.bottom].map(v => Math.round(v * 10) / 10);
const shown = {title: document.title, scripts: document.scripts.length - 1, images: document.images.length,
               text: document.getElementById('report').innerText,
               width: [document.documentElement.scrollWidth, innerWidth],
               headings: [...document.querySelectorAll('h1,h2,h3')].map(e => e.textContent),
               captions: [...document.querySelectorAll('table')].filter(t => !t.caption).length,
               summary: [...document.querySelectorAll('table.summary tbody tr')].map(
                   r => [...r.children].map(c => (c.firstChild.textContent || c.firstChild.data || '').trim())),
               missing: document.querySelectorAll('table.summary tr:not(.control) .none').length,
               runs: [...document.querySelectorAll('table.runs tbody tr')].map(r => [...r.children].map(c => c.textContent)),
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

    def dom(self, page, name="measured.html", width=1200):
        """The document after its scripts have run, as text, and what the browser said."""
        copy = self.file(name, page)
        done = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                               "--enable-logging=stderr", f"--user-data-dir={self.folder / 'profile'}",
                               f"--window-size={width},2000", "--dump-dom", copy.as_uri()], capture_output=True, timeout=120)
        return done.stdout.decode(), done.stderr.decode()

    def render(self, *results, width=1200):
        page = self.make(*results)
        # The page itself forbids foreign scripts, so the one that measures needs a copy without that line.
        policy = re.search(r"<meta http-equiv=\"Content-Security-Policy\"[^\n]*\n", page)
        self.assertIn("default-src 'none'", policy[0])
        page = page.replace(policy[0], "").replace("</body>", f"<script>{MEASURE}</script></body>")
        found, said = self.dom(page, width=width)
        measured = re.search(r'<pre id="measured">(.*?)</pre>', found, re.DOTALL)
        self.assertIsNotNone(measured, said[-2000:])
        return json.loads(html.unescape(measured[1]))

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
        self.assertEqual((shown["captions"], shown["scripts"], shown["images"], shown["resources"]), (0, 2, 0, []))

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
        self.assertEqual((shown["scripts"], shown["images"], shown["resources"]), (2, 0, []))
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
        self.assert_legible(shown)
        self.assertCountEqual(shown["svgs"]["model-1-divergence"]["points"], [entry[0] for entry in samples.RECIPES])

    def test_draws_under_its_own_policy(self):
        page = self.make(samples.kld(), samples.suite())
        found, said = self.dom(page)
        self.assertEqual(found.count("<svg id="), 3)
        self.assertNotIn("CONSOLE", said)
        # A script that got in all the same would not run.
        found, said = self.dom(page.replace("</body>", "<script>document.title = 'owned'</script></body>"))
        self.assertNotIn("<title>owned", found)
        self.assertIn("Content Security Policy", said)

    def test_the_same_file_twice_counts_once(self):
        self.assertEqual(self.render(samples.kld(), samples.suite())["summary"],
                         self.render(samples.kld(), samples.suite(), samples.suite(), samples.kld())["summary"])

    def test_only_like_is_compared(self):
        other = samples.kld(samples.RECIPES[:2], text={"file": "other.txt", "tokens": 288768})
        for row in other["rows"]:
            row["kl"]["mean"] |= {"value": 99.5, "high": 99.5}
        shown = self.render(other, samples.kld())["text"]
        self.assertIn("Rows of other texts", shown)
        self.assertEqual(shown.count("99.500"), 2 * len(other["rows"]))  # value and interval, in the last table alone

    def test_items_that_differ_are_told(self):
        def with_fewer():
            result = samples.suite()
            result["recipes"][1]["cells"] = result["recipes"][1]["cells"][:60]
            return result
        self.assertNotIn("equally many", self.render(samples.suite())["text"])
        self.assertIn("equally many", self.render(with_fewer())["text"])

    def test_settings_of_one_level(self):
        shown = self.render(samples.kld(
            settings={"seed": 1, "data": {"xquad": 3, "passkey": 4}, "skip": None, "list": [], "half": 0.5}))
        self.assertEqual(shown["runs"][0][-1], "seed 1 · data xquad 3, passkey 4 · half 0.5")

    def test_no_items(self):
        self.render(samples.suite(samples.RECIPES[:2], [], items=0))


class RealResults(Rendered):
    """The files that the other commands write are the ones that are read."""

    def run_eval(self, name, *arguments):
        model = ROOT / "models/cairn-tiny-f16.gguf"
        done = subprocess.run([BINARY, "eval", name, "-m", model, "--json", *arguments], capture_output=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode()

    def test_kld_and_suite_are_joined(self):
        recipes = ["--recipes", "raw_f16,raw_f16+shift=2"]
        shown = self.render(self.run_eval("kld", ROOT / "README.md", "--contexts", "64", "--windows", "2", *recipes),
                            self.run_eval("suite", "--contexts", "512", "--sessions", "1", "--turns", "2", "--tasks",
                                          "S1,S9", *recipes))
        self.assertEqual([row[0] for row in shown["summary"]][:2], ["raw_f16", "raw_f16+shift=2"])
        self.assertEqual(shown["missing"], 0)  # every figure of every recipe


class Page(Report):
    def test_same_input_same_bytes(self):
        first = self.make(samples.kld(), samples.suite())
        self.assertEqual(first, self.make(samples.kld(), samples.suite()))

    def test_nothing_from_elsewhere(self):
        page = self.make(samples.kld(), samples.suite())
        page = page.replace("'http://www.w3.org/2000/svg'", "")  # the name of a kind of element, not a place
        self.assertNotRegex(page, r"(?i)https?:|\bsrc=|url\(|@import|<link|//[a-z]|\bfetch\(|XMLHttpRequest|import\(|innerHTML")

    def test_results_cannot_leave_their_script(self):
        page = self.make(samples.kld([(HOSTILE, 3072, 16, 0, 1)], model=samples.model("\u2028</SCRIPT ><!--<script>")))
        self.assertEqual(len(re.findall("(?i)</?script", page)), 4)
        self.assertNotIn("\u2028", page)
        data = re.search(r'<script type="application/json" id="results">(.*?)</script>', page, re.DOTALL)[1]
        result, = json.loads(data)
        self.assertEqual((result["rows"][0]["recipe"], result["model"]["name"]), (HOSTILE, "\u2028</SCRIPT ><!--<script>"))
        self.assertIn("<noscript>", page)

    def test_nonce_depends_on_the_results(self):
        nonces = [set(re.findall(r"nonce[=-]\W?([0-9a-f]+)", self.make(result))) for result in (samples.kld(), samples.suite())]
        self.assertEqual([len(found) for found in nonces], [1, 1])
        self.assertNotEqual(*nonces)

    def test_settings_that_are_deeper(self):
        path = self.file("bad.json", samples.kld(settings={"data": {"xquad": [3]}}))
        self.assert_error(CORRUPT, "settings.'data'", path, "-o", self.page)

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


if __name__ == "__main__":
    unittest.main()

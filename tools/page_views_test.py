#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard, the block map and the requests of the page of `cairn serve`, in headless Chromium on the demo model.
CAIRN_BINARY names the binary."""
import unittest

import page_browser
from cli_serve_test import LONG
from page_case import Page

if __name__ == "__main__":
    page_browser.use_debian_python()
try:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
except ImportError:
    pass


class Watching(Page):
    def figures(self):
        return self.browser.execute_script("""return Object.fromEntries(
            [...document.querySelectorAll('#view-dashboard [data-figure]')].map(e => [e.dataset.figure, Number(e.dataset.value)]))""")

    def test_the_dashboard_shows_the_state(self):
        self.serve("--kv-budget", "64MiB")
        for _ in range(3):
            self.complete()
        self.open("dashboard")
        state = self.ask("GET", "/api/state")[1]
        tenant, loop, tier = state["tenant"], state["loop"], state["store"]["tiers"][0]
        expected = {"running": 0, "waiting": 0, "finished": 3, "passes": loop["passes"], "last_batch": loop["last_batch"],
                    "first_p50": state["first_token"]["p50_s"], "first_p95": state["first_token"]["p95_s"],
                    "hit_rate": tenant["cached_tokens"] / tenant["prompt_tokens"], "kv_bytes": tenant["kv_bytes"],
                    **{name: tenant[name] for name in ("prompt_tokens", "cached_tokens", "stored_tokens", "generated_tokens")}}
        self.assertGreater(expected["hit_rate"], 0.4)
        for name, value in expected.items():
            self.until(lambda: self.figures().get(name) == value, f"{name} to be {value}")
        self.until(lambda: self.figures()[f"tier:{tier['name']}"] >= tier["bytes"] > 0, "bytes of the store")
        self.assertAlmostEqual(self.figures()["memory::prefixes"] + self.figures()["memory::running"], tenant["kv_bytes"])
        self.assertIn("64 MiB", self.text("#view-dashboard .bytes"))

    def test_charts_can_be_read_without_a_pointer(self):
        self.serve()
        self.complete()
        self.open("dashboard")
        chart = self.one("#chart-first")
        self.until(lambda: "highest" in chart.get_attribute("aria-label"))
        self.assertIn("median: now", chart.get_attribute("aria-label"))
        self.browser.execute_script("arguments[0].focus()", chart)
        self.press(Keys.ARROW_LEFT)
        readout = self.one("#chart-first ~ .readout")
        self.until(lambda: "ago: median" in readout.text, "the value of a moment")
        self.press(Keys.ESCAPE)
        self.until(lambda: "ago" not in readout.text)

    def test_blocks_open_by_keyboard(self):
        self.serve()
        self.complete()
        for ending in ("one", "two"):
            self.complete(prompt=LONG + f"Then comes the {ending}. " * 20)
        self.open("blocks")
        self.one("[role=treeitem]")
        blocks = self.ask("GET", "/api/blocks?tiers=1")[1]
        self.until(lambda: [self.one(f"#view-blocks [data-figure={name}]").get_attribute("data-value") for name in ("blocks", "bytes")]
                   == [str(len(blocks["blocks"])), str(sum(b["bytes"] for b in blocks["blocks"]))], "all blocks")
        items = lambda: self.all("[role=treeitem]")
        self.assertEqual(len(items()), 1)
        self.until(lambda: "disk" in items()[0].text and "memory" in items()[0].text, "the tiers")
        self.assertIn("2 branches", items()[0].text)
        self.browser.execute_script("arguments[0].focus()", items()[0])
        self.press(Keys.ARROW_RIGHT)
        self.assertEqual([e.get_attribute("aria-level") for e in items()], ["1", "2", "2", "2"])
        self.assertEqual(items()[0].get_attribute("aria-expanded"), "true")
        texts = [e.find_element(By.CSS_SELECTOR, ".text").text for e in items()]
        self.assertTrue(any("comes the one" in text for text in texts) and any("comes the two" in text for text in texts), texts)
        self.press(Keys.ARROW_DOWN)
        self.press(Keys.ARROW_DOWN)
        self.press(Keys.ENTER)
        self.assertGreater(len(items()), 4)
        self.press(Keys.END)
        self.press(Keys.ARROW_LEFT)
        self.press(Keys.HOME)
        self.press(Keys.ARROW_LEFT)
        self.assertEqual(len(items()), 1)
        self.assertEqual(self.browser.switch_to.active_element.get_attribute("data-id"), items()[0].get_attribute("data-id"))
        self.assert_quiet()

    def test_many_blocks_are_drawn_fast(self):
        self.serve()
        self.open("chat")
        # 2000 chains of ten blocks, each of which forks after the fifth.
        self.browser.execute_script("""
            const blocks = [];
            for (let i = 0; i < 20000; ++i) {
              blocks.push({key: `k${i}`, parent: i % 10 ? `k${i - (i % 10 === 7 ? 3 : 1)}` : 'root', depth: i % 10,
                           tokens: 64, bytes: 1, users: 0, text: `text of ${i}`, tiers: []});
            }
            const fetched = fetch;
            window.fetch = (path, ...rest) => path.startsWith('/api/blocks') ?
              Promise.resolve(new Response(JSON.stringify({tenant: '', tiers: [], blocks}))) : fetched(path, ...rest);""")
        self.go("blocks")
        self.until(lambda: self.one("#view-blocks [data-figure=blocks]").text == "20,000")
        self.assertEqual(len(self.all("[role=treeitem]")), 201)
        self.assertIn("1,800 more", self.all("[role=treeitem]")[-1].text)
        took, levels = self.browser.execute_script("""
            const begun = performance.now();
            document.querySelector('[role=treeitem]').click();
            document.body.offsetHeight;
            return [performance.now() - begun, [...document.querySelectorAll('[role=treeitem]')].slice(0, 4).map(e => e.ariaLevel)];""")
        self.assertLess(took, 2000)
        self.assertEqual(levels, ["1", "2", "2", "2"])

    def test_a_request_is_explained(self):
        self.serve()
        self.complete()
        _, again = self.complete()
        self.open("requests")
        self.assertEqual(len(self.all("#request-rows tr")) or self.until(lambda: len(self.all("#request-rows tr"))), 2)
        self.one("#request-rows a").click()
        record = self.ask("GET", "/api/requests/" + again["id"])[1]
        self.assertEqual(self.text("#explanation"), record["explanation"])
        parts = {e.get_attribute("data-part"): float(e.get_attribute("data-value")) for e in self.all("[data-part]")}
        usage, timing = record["usage"], record["timing"]
        details = usage["prompt_tokens_details"]
        self.assertGreater(details["cached_tokens"], 0)
        self.assertEqual((parts["memory"], parts["stored"], parts["computed"]),
                         (details["cached_tokens"] - details["stored_tokens"], details["stored_tokens"],
                          usage["prompt_tokens"] - details["cached_tokens"]))
        self.assertEqual((parts["queued"], parts["load"], parts["prefill"]),
                         (timing["queued_s"], timing["load_s"], timing["prefill_s"]))
        self.assertAlmostEqual(sum(parts[name] for name in ("queued", "load", "prefill", "decode")), timing["total_s"])
        bar = lambda: self.browser.execute_script(
            "return [...document.querySelectorAll('.bar.tall')].map(b => [...b.children].reduce((s, e) => s + e.offsetWidth + 2, -2) - b.offsetWidth)")
        self.assertLess(max(map(abs, bar())), 6)
        self.go("request/unknown")
        self.until(lambda: "does not know this request" in self.text("#request-body"))


if __name__ == "__main__":
    unittest.main()

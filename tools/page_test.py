#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The chat, the key and the looks of the page of `cairn serve`, in headless Chromium on the demo model. CAIRN_BINARY
names the binary."""
import contextlib
import http.client
import threading
import unittest

import page_browser
from cli_serve_test import KEY, LONG
from cli_test import MODEL, cairn
from page_case import Page

if __name__ == "__main__":
    page_browser.use_debian_python()
try:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
except ImportError:
    pass

HOSTILE = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script> \u202egnp \u0627\u0644\u0633"
VIEWS = ("chat", "dashboard", "blocks", "requests")
# Elements that hostile text would have made.
INTRUDERS = "return document.querySelectorAll('img:not([src=\"icon.svg\"]), body script, iframe').length"
WIDTHS = """return [document.documentElement, document.getElementById('content'), ...document.querySelectorAll('.view:not([hidden])')]
    .map(e => e.scrollWidth - e.clientWidth)"""


class Chat(Page):
    def test_answers_are_those_of_the_api(self):
        self.serve()
        self.open("chat")
        number = self.say("The code of river is 5931.\nWhat is the code?", temperature="0", limit="12")
        message = self.answer(number)
        first = message.find_element(By.CSS_SELECTOR, ".text").get_attribute("textContent")
        question = self.text(".message.user .text")
        self.assertEqual(question, "The code of river is 5931.\nWhat is the code?")
        self.assertEqual(first, self.chat_by_api(question)["choices"][0]["message"]["content"])

        second = self.answer(self.say("Once more."))
        reply = self.chat_by_api(question, first, "Once more.")
        self.assertEqual(second.find_element(By.CSS_SELECTOR, ".text").get_attribute("textContent"),
                         reply["choices"][0]["message"]["content"])
        link = second.find_element(By.CSS_SELECTOR, ".facts a")
        record = self.ask("GET", "/api/requests/" + link.get_attribute("href").rsplit("/", 1)[1])[1]
        facts = second.find_element(By.CSS_SELECTOR, ".facts").text
        self.assertIn(f"{record['usage']['completion_tokens']} tokens", facts)
        self.assertIn(f"of {record['usage']['prompt_tokens']} prompt tokens cached", facts)
        self.assertIn("tokens/s", facts)
        link.click()
        self.assertEqual(self.text("#explanation"), record["explanation"])
        self.assert_quiet()

    def test_a_second_question_on_a_document_is_answered_from_the_cache(self):
        self.serve()
        self.open("chat")
        cached = lambda message: int(message.find_element(By.CSS_SELECTOR, "[data-fact=cached]").text.split()[0])
        self.assertEqual(cached(self.answer(self.say(LONG + "What is the code?", limit="8"))), 0)
        self.one("#new").click()
        answer = self.answer(self.say(LONG + "Whose code is it?"))
        reused = str(cached(answer))
        self.assertGreaterEqual(int(reused), 64)
        answer.find_element(By.CSS_SELECTOR, ".facts a").click()
        self.assertEqual(self.one("[data-part=memory]").get_attribute("data-value"), reused)
        self.assertIn("were taken from the cache", self.text("#explanation"))
        self.assert_quiet()

    def test_it_streams_and_stops(self):
        self.serve()
        self.open("chat")
        number = self.say("Go on and on.", limit="1500")
        text = lambda: self.all(".message.assistant")[number].text
        self.until(lambda: len(text()) > 10, "the beginning of an answer")
        self.assertEqual([e.text for e in self.all(".message .problem")], [])
        self.assertEqual(self.one(".log").get_attribute("aria-busy"), "true")
        self.press(Keys.ESCAPE)
        facts = self.answer(number).find_element(By.CSS_SELECTOR, ".facts").text
        self.assertIn("stopped", facts)
        self.assertEqual(self.ask("GET", "/api/state")[1]["loop"]["cancelled"], 1)
        number = self.say("Again.")
        self.one("#stop:not([hidden])").click()
        self.answer(number)
        self.assertTrue(self.one("#send").is_displayed())
        self.one("#new").click()
        self.assertEqual(self.all(".message"), [])
        self.assertEqual(self.browser.switch_to.active_element.get_attribute("id"), "prompt")

    def test_errors_are_told_in_a_line(self):
        self.serve("--ctx", "256")
        self.open("chat")
        answer = self.answer(self.say("hello", limit="5000"))
        self.assertIn("256", answer.find_element(By.CSS_SELECTOR, ".problem").text)
        self.browser.execute_script("document.getElementById('limit').value = 4")
        answer.find_element(By.CSS_SELECTOR, ".problem button").click()
        self.assertTrue(self.one(".facts a"))
        self.assertEqual(len(self.all(".message")), 2)

    def test_a_full_server_says_so(self):
        self.serve("--parallel", "1", "--max-waiting", "1")
        self.open("chat")
        def keep_busy():
            with contextlib.suppress(OSError, http.client.HTTPException):  # until the server is killed
                self.complete(max_tokens=1500, ignore_eos=True)
        for state in ("running", "waiting"):
            other = threading.Thread(target=keep_busy)
            other.start()
            self.addCleanup(other.join)
            self.addCleanup(self.process.kill)
            self.until(lambda: self.ask("GET", "/api/state")[1]["loop"][state] == 1, "a full queue")
        answer = self.answer(self.say("hello"))
        self.assertIn("Too many requests are waiting. Try again", answer.find_element(By.CSS_SELECTOR, ".problem").text)

    def test_a_server_that_fails_says_so(self):
        self.serve()
        self.open("chat")
        said = []
        for status, body in ((500, '{"error": {"message": "<b>broken</b>"}}'), (502, "not JSON"), (401, "")):
            self.browser.execute_script("""window.served ??= fetch;
                const [status, body] = arguments;
                window.fetch = (path, ...rest) => path.startsWith('/v1/') ? Promise.resolve(new Response(body, {status})) :
                  window.served.call(window, path, ...rest);""", status, body)
            said.append(self.answer(self.say("hello")).find_element(By.CSS_SELECTOR, ".problem").get_attribute("textContent"))
            self.browser.execute_script("document.getElementById('key-dialog').close()")
        self.assertEqual(said, ["The server says: <b>broken</b> Try again", "The server failed (502). Try again",
                                "The server wants a valid API key. Try again"])

    def test_hostile_text_is_text(self):
        self.serve()
        self.open("constructor")
        self.assertTrue(self.one("#prompt").is_displayed())
        self.open("chat")
        self.browser.execute_script("""document.getElementById('prompt').value = arguments[0];
            document.getElementById('limit').value = 8""", HOSTILE * 8)
        self.one("#prompt").send_keys(Keys.ENTER)
        self.until(lambda: self.all(".facts a"), "an answer")
        self.assertEqual(self.text(".message.user .text"), HOSTILE * 8)
        self.go("blocks")
        self.assertIn("<img src=x onerror=", self.text("[role=treeitem] .text"))
        for view in VIEWS:
            self.go(view)
            self.assertEqual(self.browser.execute_script(INTRUDERS), 0)
            self.assertIn("cairn", self.browser.title)
        self.assert_quiet()


class Access(Page):
    def serve_tenants(self, **keys):
        digest = lambda key: cairn("serve", "--hash-key", stdin=key.encode() + b"\n").stdout.decode().strip()
        lines = [f"{tenant} {digest(key)}\n" for tenant, key in keys.items()]
        self.serve("--api-keys", self.file("keys", "".join(lines).encode()))

    def test_a_key_is_asked_for(self):
        self.serve_tenants(alice=KEY)
        self.open("dashboard", ready="dialog[open]")
        for key, state in (("a-wrong-key-of-nobody", "refused"), (KEY, "well")):
            self.one("#key").send_keys(key)
            self.one("#key-form .primary").click()
            if state == "refused":
                self.until(lambda: "does not know this key" in self.text("#key-why") and self.all("dialog[open]"))
                self.assertIn("valid API key", self.text("#banner-text"))
        self.one(".server[data-state=well]")
        self.assertEqual(self.all("dialog[open]"), [])
        self.until(lambda: "alice" in self.text("#view-dashboard .bytes"))
        self.assertEqual(self.browser.execute_script("return [Object.keys(localStorage), Object.keys(sessionStorage)]"),
                         [[], ["cairn.key"]])
        self.browser.execute_script("sessionStorage.clear()")

    def test_a_key_shows_what_is_its_tenants(self):
        self.serve_tenants(alice=KEY, bob="another-key-of-bobs")
        status, reply = self.complete(KEY, prompt="A secret of Alice. " * 30)
        self.assertEqual(status, 200)
        shown = {}
        for key in (KEY, "another-key-of-bobs"):
            self.browser.get(self.origin)
            self.browser.execute_script("sessionStorage.setItem('cairn.key', arguments[0])", key)
            texts = []
            for view, ready in (("dashboard", ".bytes"), ("blocks", "#view-blocks [data-figure=blocks]"),
                                ("requests", "#no-requests"), ("request/" + reply["id"], "#explanation, #request-body .problem")):
                self.open(view)
                self.one(ready)
                texts.append(self.text("main"))
            shown[key] = " ".join(texts)
        for secret in ("A secret of Alice", "alice", reply["id"]):
            self.assertIn(secret, shown[KEY])
            self.assertNotIn(secret, shown["another-key-of-bobs"])
        self.browser.execute_script("sessionStorage.clear()")

    def test_a_key_among_several_sees_soon_what_the_store_has(self):
        self.serve_tenants(alice=KEY, bob="another-key-of-bobs")
        self.assertEqual(self.complete(KEY)[0], 200)
        self.browser.get(self.origin)
        self.browser.execute_script("sessionStorage.setItem('cairn.key', arguments[0])", KEY)
        self.open("chat")
        # As when the first list is asked for before the store has written.
        self.browser.execute_script("""
            const fetched = fetch;
            let lists = 0;
            window.fetch = async (path, ...rest) => {
              const reply = await fetched(path, ...rest);
              if (!path.startsWith('/api/blocks') || lists++ > 0) return reply;
              const json = await reply.json();
              for (const block of json.blocks) block.tiers = [];
              return new Response(JSON.stringify(json));
            };""")
        self.go("blocks")
        self.until(lambda: "memory" in self.text("[role=treeitem]"))
        self.assertNotIn("disk", self.text("[role=treeitem]"))
        self.until(lambda: "disk" in self.text("[role=treeitem]"), "the tiers", seconds=6)
        self.browser.execute_script("sessionStorage.clear()")

    def test_a_server_that_goes_is_noticed_and_found_again(self):
        self.serve()
        self.open("dashboard")
        port = self.port
        self.stop()
        self.one(".server[data-state=gone]")
        self.assertIn("does not answer", self.one("#banner").text)
        self.process.stdout.close()
        self.start(MODEL, port=port)
        self.one("#banner-button").click()
        self.one(".server[data-state=well]")
        self.assertFalse(self.one("#banner").is_displayed())


class Looks(Page):
    def test_a_phone_is_wide_enough(self):
        self.serve()
        self.complete(prompt="x" * 700)
        _, reply = self.complete(prompt=LONG * 2)
        self.open("chat")
        for _ in range(2):
            self.answer(self.say("w" * 300, limit="20"))
        page_browser.set_size(self.browser, 360, 740)
        for view in (*VIEWS, "request/" + reply["id"]):
            self.go(view)
            self.one({"dashboard": ".bytes", "blocks": "[role=treeitem]", "requests": "#request-rows tr",
                      "request": "[data-part]"}.get(view.split("/")[0], ".facts a"))
            if view == "blocks":
                self.browser.execute_script("""for (const id of [...document.querySelectorAll('[role=treeitem]')].map(e => e.dataset.id))
                    document.querySelector(`[data-id="${id}"]`)?.click()""")
                self.assertTrue(self.all("[aria-expanded=true]"))
            self.assertEqual(set(self.browser.execute_script(WIDTHS)), {0}, view)
        self.go("chat")
        self.until(lambda: self.browser.execute_script(
            "const log = document.querySelector('.log'); return log.scrollTop > 0 && log.scrollHeight - log.scrollTop - log.clientHeight < 2"),
            "the end of the conversation, as before")
        self.assert_quiet()

    def test_light_and_dark(self):
        self.serve()
        self.addCleanup(page_browser.set_scheme, self.browser, "light")
        ground = lambda: self.browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
        self.open("chat")
        page_browser.set_scheme(self.browser, "light")
        light = ground()
        page_browser.set_scheme(self.browser, "dark")
        dark = ground()
        self.assertNotEqual(light, dark)
        button = self.one("#theme")
        shown = []
        for _ in range(3):
            button.click()
            shown.append((button.text, ground()))
        self.assertEqual(shown, [("Light", light), ("Dark", dark), ("Auto", dark)])

    def test_all_is_reached_by_keyboard(self):
        self.serve()
        self.open("chat")
        self.browser.execute_script("document.activeElement.blur()")
        reached = []
        for _ in range(14):
            self.press(Keys.TAB)
            active = self.browser.switch_to.active_element
            if active.tag_name == "body":  # once around
                continue
            reached.append(active.get_attribute("id") or active.get_attribute("href") or active.tag_name)
            style = self.browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
            self.assertNotEqual(style, "none", reached[-1])
        for expected in ("theme", "prompt", "send", "new", self.origin + "#blocks"):
            self.assertIn(expected, reached)

    def tab_to(self, selector):
        for _ in range(40):
            if self.browser.execute_script("return document.activeElement.matches(arguments[0])", selector):
                return
            self.press(Keys.TAB)
        self.fail(f"{selector} is not reached")

    def test_a_question_and_its_explanation_by_keyboard_alone(self):
        self.serve()
        self.open("chat")
        self.tab_to("#prompt")
        self.press(LONG + "What is it?")
        self.press(Keys.ENTER)
        self.answer(0)
        self.tab_to(".facts a")
        self.press(Keys.ENTER)
        self.one("#explanation")
        self.tab_to(".back")
        self.press(Keys.ENTER)
        self.one("#view-requests:not([hidden]) #request-rows tr")
        self.tab_to("nav a[data-view=blocks]")
        self.press(Keys.ENTER)
        self.one("[role=treeitem]")
        self.tab_to("[role=treeitem]")
        self.press(Keys.ENTER)
        self.one("[role=treeitem][aria-expanded=true]")
        self.tab_to("nav a[data-view=dashboard]")
        self.press(Keys.ENTER)
        self.one("#view-dashboard:not([hidden]) .bytes")
        self.assert_quiet()


if __name__ == "__main__":
    unittest.main()

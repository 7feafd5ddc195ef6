# SPDX-License-Identifier: Apache-2.0
"""What tests of the page share: one browser, a server for each test, and what a person does with both."""
import atexit
import os

import page_browser
from cli_serve_test import Server
from cli_test import MODEL

try:
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait
except ImportError:
    pass


class Page(Server):
    """One browser for all tests, a server for each."""
    browser = None

    def setUp(self):
        super().setUp()
        missing = page_browser.what_is_missing()
        if missing:
            self.assertNotIn("CI", os.environ, f"no {missing}: tools/install_deps.sh browser")
            self.skipTest(f"no {missing} to open the page with; tools/install_deps.sh browser installs it")
        if not Page.browser:
            Page.browser = page_browser.start_browser()
            atexit.register(Page.browser.quit)
        self.addCleanup(self.browser.get, "about:blank")

    def serve(self, *options):
        self.start(MODEL, "--served-name", "tiny", "--store", self.folder / "kv", *options)
        self.origin = f"http://127.0.0.1:{self.port}/"
        page_browser.set_size(self.browser, 1200, 900)
        page_browser.console_problems(self.browser)  # those of the test before
        page_browser.requested_urls(self.browser)

    def open(self, view, ready=".server[data-state=well]"):
        self.browser.get("about:blank")
        self.browser.get(f"{self.origin}#{view}")
        self.one(ready)

    def go(self, view):
        self.browser.execute_script("location.hash = arguments[0]", view)
        self.one(f"#view-{view.split('/')[0]}:not([hidden])")

    def until(self, condition, what="", seconds=40):
        wait = WebDriverWait(self.browser, seconds, poll_frequency=0.05,
                             ignored_exceptions=(StaleElementReferenceException,))
        return wait.until(lambda _: condition(), what or "waited for too long")

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.until(lambda: next((e for e in self.all(selector)), None), selector)

    def text(self, selector):
        """As it stands in the document, with all spaces."""
        return self.one(selector).get_attribute("textContent")

    def press(self, *keys):
        self.browser.switch_to.active_element.send_keys(*keys)

    def say(self, text, **settings):
        """Types a message, sends it, and returns the number of its answer."""
        number = len(self.all(".message.assistant"))
        if settings:
            self.browser.execute_script(
                "for (const [id, value] of Object.entries(arguments[0])) document.getElementById(id).value = value", settings)
        box = self.one("#prompt")
        for line in text.split("\n")[:-1]:
            box.send_keys(line, Keys.SHIFT + Keys.ENTER + Keys.NULL)
        box.send_keys(text.split("\n")[-1])
        self.assertEqual(box.get_property("value"), text)
        box.send_keys(Keys.ENTER)
        return number

    def answer(self, number):
        """Waits for the end of an answer."""
        self.until(lambda: number < len(self.all(".message.assistant")) and
                   self.all(".message.assistant")[number].find_elements(By.CSS_SELECTOR, ".facts a, .problem"), "an answer")
        return self.all(".message.assistant")[number]

    def chat_by_api(self, *texts):
        messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
        status, reply = self.ask("POST", "/v1/chat/completions",
                                 {"messages": messages, "temperature": 0, "max_tokens": 12})
        self.assertEqual(status, 200, reply)
        return reply

    def assert_quiet(self):
        """Nothing in the console, nothing asked of another server."""
        self.assertEqual(page_browser.console_problems(self.browser), [])
        others = [url for url in page_browser.requested_urls(self.browser)
                  if not url.startswith((self.origin, "about:", "data:,"))]
        self.assertEqual(others, [])

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The C++ example in docs/library.md is examples/quickstart.cc, which another test compiles; links in the docs lead
somewhere."""
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Readme(unittest.TestCase):
    def test_example_is_the_compiled_file(self):
        blocks = re.findall(r"```cpp\n(.*?)```", (ROOT / "docs/library.md").read_text(), re.DOTALL)
        self.assertEqual(len(blocks), 1)
        self.assertEqual(blocks[0], (ROOT / "examples/quickstart.cc").read_text())

    def test_the_public_headers_are_listed(self):
        page = (ROOT / "docs/library.md").read_text()
        for header in (ROOT / "include/cairn").glob("*.h"):
            with self.subTest(header=header.name):
                self.assertIn(f"`cairn/{header.name}`", page)

    def test_every_page_is_in_the_index(self):
        index = (ROOT / "docs/index.md").read_text()
        for page in (ROOT / "docs").glob("*.md"):
            if page.name != "index.md":
                with self.subTest(page=page.name):
                    self.assertIn(f"({page.name})", index)

    def test_pages_wrap_at_120_columns(self):
        for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
            code = False
            for number, line in enumerate(page.read_text().splitlines(), 1):
                code ^= line.startswith("```")
                if not code and not line.startswith(("|", "    ", "```")) and "](http" not in line:
                    with self.subTest(page=page.name, line=number):
                        self.assertLessEqual(len(line), 120)

    def test_links_lead_somewhere(self):
        for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
                with self.subTest(page=page.name, target=target):
                    self.assertTrue((page.parent / target).exists())


if __name__ == "__main__":
    unittest.main()

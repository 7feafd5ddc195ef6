#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The C++ example in README.md is examples/quickstart.cc, which another test compiles; links in the docs lead
somewhere."""
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Readme(unittest.TestCase):
    def test_example_is_the_compiled_file(self):
        blocks = re.findall(r"```cpp\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        self.assertEqual(len(blocks), 1)
        self.assertEqual(blocks[0], (ROOT / "examples/quickstart.cc").read_text())

    def test_links_lead_somewhere(self):
        for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
                with self.subTest(page=page.name, target=target):
                    self.assertTrue((page.parent / target).exists())


if __name__ == "__main__":
    unittest.main()

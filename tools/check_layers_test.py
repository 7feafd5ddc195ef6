#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every rule of check_layers.py catches a violation, names the line, and lets clean code pass."""
import tempfile
import unittest
from pathlib import Path

import check_layers

LAYERS = "# comment\nbase:\nkernels: base\nblock: base\ncodec: base block kernels\n"


class CheckLayers(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.write("layers.txt", LAYERS)

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if path == "layers.txt":
            self.use_permissions(text)

    def use_permissions(self, layers):
        """A file for each module that needs all it is allowed, or the rule against idle permissions would speak up."""
        for stale in self.root.glob("cairn/*/uses.cc"):
            stale.unlink()
        for module, _, allowed in (line.partition(":") for line in layers.splitlines() if ":" in line):
            self.write(f"cairn/{module}/uses.cc",
                       "".join(f'#include "cairn/{other}/a.h"\n' for other in allowed.split()))

    def problems(self, path, text):
        self.write(path, text)
        return check_layers.check_tree(self.root)

    def assert_caught(self, path, text, where, words):
        problems = self.problems(path, text)
        self.assertEqual(len(problems), 1, problems)
        self.assertTrue(problems[0].startswith(where + ":"), problems)
        self.assertIn(words, problems[0])

    def assert_clean(self, path, text):
        self.assertEqual(self.problems(path, text), [])

    def test_allowed_includes_pass(self):
        self.assert_clean("cairn/codec/a.cc",
                          '#include "cairn/codec/a.h"\n#include "cairn/block/b.h"\n#include <vector>\n')

    def test_include_against_the_arrows(self):
        self.assert_caught("cairn/base/a.h", '#pragma once\n#include "cairn/codec/a.h"\n', "cairn/base/a.h:2",
                           "'base' must not include 'codec'")

    def test_siblings_do_not_see_each_other(self):
        self.assert_caught("cairn/block/a.cc", '#include "cairn/kernels/a.h"\n', "cairn/block/a.cc:1",
                           "must not include")

    def test_angle_brackets_count_too(self):
        self.assert_caught("cairn/base/a.cc", "#include <cairn/codec/a.h>\n", "cairn/base/a.cc:1", "must not include")

    def test_tests_obey_the_arrows(self):
        self.assert_caught("cairn/base/a_test.cc", '#include "cairn/codec/a.h"\n', "cairn/base/a_test.cc:1",
                           "must not include")

    def test_unknown_module(self):
        self.assert_caught("cairn/base/a.cc", '#include "cairn/nosuch/a.h"\n', "cairn/base/a.cc:1", "no module")

    def test_unlisted_folder(self):
        self.assert_caught("cairn/stray/a.cc", "\n", "cairn/stray/a.cc:1", "not listed")

    def test_applications_may_include_every_module(self):
        self.assert_clean("apps/cairn/main.cc", '#include "cairn/codec/a.h"\n#include <CLI/CLI.hpp>\n')

    def test_tests_may_include_what_is_reachable(self):
        self.write("layers.txt", "base:\nblock: base\ncodec: block\n")
        self.assert_clean("cairn/codec/a_test.cc", '#include "cairn/base/a.h"\n')
        self.assert_caught("cairn/codec/a.cc", '#include "cairn/base/a.h"\n', "cairn/codec/a.cc:1", "must not include")

    def test_permissions_that_nothing_uses(self):
        self.write("layers.txt", "base:\nblock: base\n")
        self.assert_caught("cairn/block/uses.cc", "\n", "layers.txt:2", "take the permission away")
        self.assert_caught("cairn/block/a_test.cc", '#include "cairn/base/a.h"\n', "layers.txt:2", "'base'")
        self.assert_clean("cairn/block/uses.cc", '#include "cairn/base/a.h"\n')

    def test_forward_declarations_hide_no_arrow(self):
        self.write("layers.txt", "base:\ncodec: base\n")
        self.write("cairn/codec/page.h", "struct PageFormat {\n")
        self.assert_caught("cairn/base/view.h", "struct PageFormat;\n", "cairn/base/view.h:1", "hides that arrow")
        self.assert_clean("cairn/base/view.h", "struct OfNobody;\n")
        self.assert_clean("cairn/codec/view.h", "struct PageFormat;\n")

    def test_test_support(self):
        self.assert_clean("cairn/base/a_test.cc", '#include "cairn/testing/t.h"\n')
        self.assert_caught("cairn/base/a.cc", '#include "cairn/testing/t.h"\n', "cairn/base/a.cc:1", "only tests")

    def test_test_support_brings_along_only_what_the_test_may_include(self):
        self.write("cairn/testing/t.h", '#include "cairn/testing/u.h"\n')
        self.write("cairn/testing/u.h", '#include "cairn/block/a.h"\n#include "cairn/testing/t.h"\n')
        self.assert_clean("cairn/codec/a_test.cc", '#include "cairn/testing/t.h"\n')
        self.assert_caught("cairn/base/a_test.cc", '#include "cairn/testing/t.h"\n', "cairn/base/a_test.cc:1",
                           "brings along 'block'")

    def test_forward_reference_in_the_list(self):
        self.write("layers.txt", "base: codec\ncodec:\n")
        with self.assertRaisesRegex(check_layers.LayersError, "txt:1: 'base' names 'codec'"):
            check_layers.check_tree(self.root)

    def test_module_listed_twice(self):
        self.write("layers.txt", "base:\nbase:\n")
        with self.assertRaisesRegex(check_layers.LayersError, "twice"):
            check_layers.check_tree(self.root)

    def test_malformed_line(self):
        self.write("layers.txt", "Base -> codec\n")
        with self.assertRaisesRegex(check_layers.LayersError, "not of the form"):
            check_layers.check_tree(self.root)

    def test_external_headers_have_owners(self):
        for header, owner, stranger in [
                ("sodium.h", "cairn/base/hash.cc", "cairn/block/a.cc"),
                ("immintrin.h", "cairn/kernels/avx2/a.cc", "cairn/codec/a.cc"),
                ("sys/mman.h", "cairn/base/a.cc", "cairn/codec/a.cc"),
                ("toml++/toml.h", "cairn/base/checked_toml.h", "cairn/codec/a.cc"),
                ("CLI/CLI.hpp", "apps/cairn/a.cc", "cairn/codec/a.cc"),
                ("nlohmann/json.hpp", "bench/a.cc", "cairn/codec/a.cc"),
                ("benchmark/benchmark.h", "bench/a.cc", "apps/cairn/a.cc"),
                ("gtest/gtest.h", "cairn/codec/a_test.cc", "cairn/codec/a.cc"),
                ("rapidcheck.h", "cairn/codec/a_test.cc", "cairn/codec/a.h")]:
            with self.subTest(header):
                self.assert_clean(owner, f"#include <{header}>\n")
                self.assert_caught(stranger, f"#include <{header}>\n", f"{stranger}:1", "only by")
                self.write(stranger, "\n")

    def test_relative_include(self):
        self.assert_caught("cairn/codec/a.cc", '#include "../block/b.h"\n', "cairn/codec/a.cc:1", "full path")

    def test_a_source_begins_with_its_header(self):
        self.write("cairn/base/o.h", "\n")
        self.assert_caught("cairn/base/o.cc", '#include <vector>\n#include "cairn/base/o.h"\n', "cairn/base/o.cc:1", "its own header")
        self.assert_clean("cairn/base/o.cc", '// Words.\n#include "cairn/base/o.h"\n#include <vector>\n')

    def test_using_namespace_in_header(self):
        self.assert_caught("cairn/base/a.h", "#pragma once\n\nusing namespace std;\n", "cairn/base/a.h:3",
                           "using namespace")
        self.assert_clean("cairn/base/a.h", "// using namespace is banned\n")

    def test_stdout(self):
        for line in ("std::cout << 1;", 'printf("x");', 'std::printf("x");', "fprintf(stdout, s);", 'puts("x");'):
            with self.subTest(line):
                self.assert_caught("cairn/base/a.cc", f"void f() {{ {line} }}\n", "cairn/base/a.cc:1", "stdout")
        self.assert_clean("cairn/base/a.cc", 'std::snprintf(b, 9, "printf("); std::fprintf(stderr, "x");\n')
        self.assert_clean("apps/cairn/a.cc", "std::cout << 1;\n")

    def test_two_types_of_a_name(self):
        self.write("cairn/base/a.h", "namespace cairn {\nstruct Unit {\n  int x;\n};\n}  // namespace cairn\n")
        self.assert_caught("cairn/codec/b.h", "namespace cairn {\nclass Unit final : public X {\n};\n",
                           "cairn/codec/b.h:2", "'Unit' is also a type of cairn/base/a.h:2")
        self.assert_clean("cairn/codec/b.h", "namespace cairn::codec {\nclass Unit final : public X {\n};\n")
        self.assert_clean("cairn/codec/b.h", "namespace cairn {\nnamespace {\nstruct Unit {\n};\n}  // namespace\n"
                                             "struct Unit;\nstruct Units {\n  struct Unit {\n  };\n};\n")

    def test_public_headers_show_nothing_of_the_inside(self):
        self.assert_clean("include/cairn/a.h", '#include <vector>\n#include "cairn/b.h"\n')
        self.assert_caught("include/cairn/a.h", '#include "cairn/base/a.h"\n', "include/cairn/a.h:1", "public header")
        self.assert_caught("include/cairn/a.h", "#include <sys/types.h>\n", "include/cairn/a.h:1", "public header")
        self.write("include/cairn/a.h", "\n")
        self.assert_clean("examples/a.cc", "#include <cairn/a.h>\n")
        self.assert_caught("examples/a.cc", "#include <cairn/base/a.h>\n", "examples/a.cc:1", "public headers alone")

    def test_throw(self):
        self.assert_caught("cairn/base/a.cc", "\nvoid f() { throw 1; }\n", "cairn/base/a.cc:2", "throw")
        self.assert_clean("cairn/base/a.cc", '/* may\nthrow */ auto s = "throw"; auto r = R"(throw)"; // throw\n')


if __name__ == "__main__":
    unittest.main()

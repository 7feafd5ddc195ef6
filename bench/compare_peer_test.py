#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare_peer.py with made-up peers: all builds and flags run, and the fastest of a row is its peer."""
import argparse
import contextlib
import io
import tempfile
import unittest
from pathlib import Path

import compare_peer
import contenders
import peer

BENCH = """#!/bin/sh
case "$*" in *--version*) echo "version: 7"; exit;; *"-p 0"*"--repack 1"*) rate=44;; *) rate=31;; esac
echo "$0 $*" >> "${0%/*}/ran"
echo "[{\\"samples_ts\\": [1, $rate, 99]}]"
"""
SWEEP = """#!/bin/sh
case "$*" in *"-rtr -khad") rate=70;; *-khad) rate=80;; *-rtr*) rate=20;; *) rate=60;; esac
for kv in 0 512 1024; do echo "{\\"n_kv\\": $kv, \\"speed_pp\\": 5, \\"speed_tg\\": $((rate + kv))}"; done
"""


class ComparePeer(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for name, text in (("llama-bench", BENCH), ("llama-sweep-bench", SWEEP)):
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)

    def arguments(self, **more):
        parser = argparse.ArgumentParser()
        peer.add_arguments(parser)
        contenders.add_arguments(parser)
        arguments = parser.parse_args([word for name, value in more.items() for word in (f"--{name}", value)])
        arguments.model, arguments.threads = Path("model.gguf"), 2
        return arguments

    def measure(self, figure, **more):
        arguments = self.arguments(**more)
        record = {"figures": [], "read_bytes_per_s": [2000.0]}
        bench = compare_peer.Bench(arguments, contenders.contenders(arguments), record)
        bench.cairn_run = lambda _: (22.0, 50)
        with contextlib.redirect_stderr(io.StringIO()):
            bench.measure(figure)
        compare_peer.add_ratios(record)
        return record["figures"][0]

    def test_the_fastest_set_of_flags_is_the_peer(self):
        entry = self.measure(compare_peer.Figure("decode", 0, 16, 0, 3, 3), llama=str(self.folder))
        self.assertEqual(entry["peers"], {"llama.cpp -fa 1 --repack 0": [31] * 3, "llama.cpp -fa 1 --repack 1": [44] * 3})
        self.assertEqual(entry["best"], "llama.cpp -fa 1 --repack 1")
        self.assertEqual((entry["ratio"], entry["read_share"]), (0.5, 0.55))
        ran = (self.folder / "ran").read_text().splitlines()
        self.assertEqual(len(ran), 6)
        self.assertIn("-t 2 -p 0 -n 16 -d 0 -r 3 -ctk f16 -ctv f16 -o json -fa 1 --repack 0", ran[0])

    def test_builds_are_named(self):
        entry = self.measure(compare_peer.Figure("prefill", 512, 0, 0, 1, 1), llama=f"native={self.folder}",
                             ik=f"zen4={self.folder}")
        self.assertEqual(set(entry["peers"]), {"native -fa 1 --repack 0", "native -fa 1 --repack 1",
                                               "zen4 -fa 1 -rtr 0", "zen4 -fa 1 -rtr 1"})

    def test_a_sweep_gives_the_figure_at_its_depth(self):
        entry = self.measure(compare_peer.Figure("decode", 0, 16, 512, 1, 1), ik=str(self.folder))
        self.assertEqual(entry["peers"], {"ik_llama.cpp -fa 1 -rtr 0": [572], "ik_llama.cpp -fa 1 -rtr 1": [532]})
        with self.assertRaises(peer.PeerError):
            self.measure(compare_peer.Figure("decode", 0, 16, 2048, 1, 1), ik=str(self.folder))

    def test_ik_turns_keys_where_they_have_four_bits(self):
        four = self.measure(compare_peer.Figure("decode", 0, 16, 512, 1, 1, "tok4", "q4_0"), ik=str(self.folder))
        self.assertEqual(four["peers"], {"ik_llama.cpp -fa 1 -rtr 0": [572], "ik_llama.cpp -fa 1 -rtr 1": [532],
                                         "ik_llama.cpp -fa 1 -rtr 0 -khad 1": [592],
                                         "ik_llama.cpp -fa 1 -rtr 1 -khad 1": [582]})
        self.assertEqual(four["best"], "ik_llama.cpp -fa 1 -rtr 0 -khad 1")
        for figure in (compare_peer.Figure("decode", 0, 16, 512, 1, 1, "tok8", "q8_0"),
                       compare_peer.Figure("decode", 0, 16, 0, 1, 1, "tok4", "q4_0")):  # by llama-bench, without a flag
            self.assertEqual(set(self.measure(figure, ik=str(self.folder))["peers"]),
                             {"ik_llama.cpp -fa 1 -rtr 0", "ik_llama.cpp -fa 1 -rtr 1"})

    def test_the_version_is_asked_without_the_flag_that_llama_bench_lacks(self):
        arguments = self.arguments(ik=str(self.folder))
        (self.folder / "llama-bench").write_text("""#!/bin/sh
case "$*" in *-khad*) exit 1;; *) echo '[{"build_commit": "abc"}]';; esac
""")
        self.assertEqual({ik.version(arguments) for ik in contenders.contenders(arguments)}, {"abc"})

    def test_builds_of_one_name_are_refused(self):
        arguments = self.arguments(llama=str(self.folder))
        for texts in ([str(self.folder)] * 2, [f"a={self.folder}"] * 2):
            arguments.llama = texts
            with self.assertRaisesRegex(peer.NoPeer, "a name of its own"):
                contenders.contenders(arguments)

    def test_depths_that_a_sweep_does_not_pass_are_left_out(self):
        ik = contenders.contenders(self.arguments(ik=str(self.folder)))[0]
        for depth, prefill, expected in ((0, 0, True), (1024, 0, True), (1000, 0, False), (1000, 250, True)):
            figure = compare_peer.Figure("x", prefill, 0 if prefill else 16, depth, 1, 1)
            self.assertEqual(ik.measures(figure), expected)

    def test_a_folder_that_is_not_there_is_named(self):
        with self.assertRaisesRegex(peer.NoPeer, "no folder '/nowhere'"):
            contenders.contenders(self.arguments(llama="/nowhere"))


if __name__ == "__main__":
    unittest.main()

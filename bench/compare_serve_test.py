#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare_serve.py with made-up servers: every figure is a median over as many rounds as are asked for."""
import argparse
import itertools
import unittest
from pathlib import Path

import compare_serve
import peer


class Server:
    evictions = 0

    def __init__(self, name, command_for, folder):
        self.name, self.folder, self.command = name, folder, command_for(1, Path(folder))

    def start(self):
        pass

    def stop(self):
        pass

    def state(self):
        return {"tenant": {"kv_high_water": 50 if "tok4" in self.command else 200, "index": {"evictions": Server.evictions}}}


class Rounds(unittest.TestCase):
    def setUp(self):
        self.real, compare_serve.Server = compare_serve.Server, Server
        self.addCleanup(setattr, compare_serve, "Server", self.real)
        arguments = argparse.Namespace(model="m", build=Path("b"), threads=1, rounds=3, long_tokens=9, memory_tokens=7,
                                       memory_sequences=5, peer="")
        self.comparison = compare_serve.Comparison(arguments, "folder")
        self.comparison.load = self.load
        self.asked = []
        self.values = itertools.cycle((4.0, 1.0, 9.0))
        Server.evictions = 0

    def load(self, servers, workload, rounds=None, **options):
        self.asked.append(([server.name for server in servers], servers[0], options))

        def one():
            value = next(self.values)
            return {"ttft_p50_ms": value, "itl_during_p99_ms": value, "prompt_tokens": 35}

        return {server.name: {"name": server.name, "rounds": [one() for _ in range(rounds or 3)]} for server in servers}

    def test_interference(self):
        figure = self.comparison.interference()
        self.assertEqual((figure["cairn"], figure["llama-server"]), (4, 4))
        self.assertEqual(figure["rounds"]["cairn"], [4, 1, 9])
        self.assertEqual(figure["by_round"], [1, 1, 1])

    def test_a_restart_is_one_of_a_new_store_in_each_round(self):
        figure = self.comparison.restart()
        self.assertEqual([names[0] for names, _, _ in self.asked],
                         ["cairn"] * 2 + ["llama-server"] * 4 + ["cairn"] * 4 + ["llama-server"] * 2)
        self.assertEqual({name: len(values) for name, values in figure["rounds"].items()},
                         {"cairn cold": 3, "cairn": 3, "llama-server cold": 3, "llama-server": 3})
        self.assertEqual(len({server.folder for names, server, _ in self.asked if names == ["cairn"]}), 3)
        self.assertEqual(len({options["salt"] for _, _, options in self.asked}), 3)

    def test_memory(self):
        figure = self.comparison.memory()
        self.assertEqual((figure["cairn"], figure["f16"], figure["rounds"]["f16"]), (50, 200, [200, 200, 200]))
        for _, server, options in self.asked:
            self.assertEqual(server.command[server.command.index("--parallel") + 1], options["clients"])
            self.assertEqual((options["clients"], options["document_tokens"]), (5, 7))
        Server.evictions = 1
        with self.assertRaisesRegex(peer.PeerError, "5 sequences of 7 tokens in tok4 do not fit"):
            self.comparison.memory()

    def test_a_figure_that_a_round_lacks_is_told(self):
        self.values = itertools.cycle((4.0, None))
        with self.assertRaisesRegex(peer.PeerError, "cairn has no itl_during_p99_ms in some round"):
            self.comparison.interference()


if __name__ == "__main__":
    unittest.main()

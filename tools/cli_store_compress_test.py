#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cairn store compress` from outside. CAIRN_BINARY names the binary."""
import json
import signal
import subprocess
import time
import unittest

from cli_store_test import BLOCK, StoreCase
from cli_test import BINARY, CORRUPT, USAGE, cairn


class Compress(StoreCase):
    def test_a_compressed_store_answers_the_same(self):
        answer, _ = self.run_prompt("--store", self.store)
        before = self.json("stat", self.store)
        self.assertEqual(before["compressed"], 0)
        done = self.json("compress", self.store)
        self.assertEqual(done["compressed"], before["blocks"])
        self.assertEqual((done["before"], done["left"], done["damaged"]), (before["bytes"], 0, 0))
        self.assertGreater(done["ratio"], 1.1)
        after = self.json("stat", self.store)
        self.assertEqual((after["blocks"], after["compressed"]), (before["blocks"], before["blocks"]))
        self.assertEqual((after["bytes"], after["compressed_bytes"]), (done["after"], done["after"]))
        self.assertTrue(all(entry["compressed"] for entry in self.json("ls", self.store)))
        segments = sum(file.stat().st_blocks * 512 for file in (self.store / "segments").iterdir())
        self.assertLess(segments, before["bytes"], "the space is given back")
        self.assertEqual(self.json("verify", self.store)["blocks"], {"ok": before["blocks"]})
        for store in (self.store, f"ram:64MiB,{self.store}"):
            again, _ = self.run_prompt("--store", store)
            self.assertEqual(again["reused_tokens"], (again["prompt_tokens"] - 1) // BLOCK * BLOCK)
            self.assertEqual(again["ids"], answer["ids"])
        twice = self.json("compress", self.store, "--level", "19")
        self.assertEqual((twice["compressed"], twice["already"]), (0, before["blocks"]))
        self.assertIn(b"were compressed before", self.output("store", "compress", self.store))
        # Carried on as they are.
        self.assertEqual(self.json("move", self.store, self.folder / "other")["bytes"], done["after"])

    def test_compressing_only_what_is_old(self):
        self.run_prompt("--store", self.store)
        self.assertEqual(self.json("compress", self.store, "--older-than", "1h")["compressed"], 0)
        self.assertGreater(self.json("compress", self.store, "--older-than", "0s")["compressed"], 0)
        for age in ("1", "h", "-1h", "1y", "", "99999999999d"):
            self.assert_error(USAGE, "--older-than", "store", "compress", self.store, f"--older-than={age}")
        for level in ("0", "20"):
            self.assert_error(USAGE, "level", "store", "compress", self.store, "--level", level)

    def test_compressing_encrypted_blocks_needs_their_key(self):
        key, wrong = self.file("key", b"01" * 32), self.file("wrong", b"ab" * 32)
        for path in (key, wrong):
            path.chmod(0o600)
        answer, _ = self.run_prompt("--store", self.store, "--store-key", key)
        blocks = self.json("stat", self.store)["blocks"]
        for more in ([], ["--store-key", wrong]):
            done = cairn("store", "compress", self.store, "--json", *more)
            self.assertEqual(done.returncode, USAGE)
            self.assertIn(b"--store-key", done.stderr)
            figures = json.loads(done.stdout)
            self.assertEqual((figures["locked"], figures["compressed"], figures["damaged"]), (blocks, 0, 0))
        self.assertEqual(self.json("compress", self.store, "--store-key", key)["compressed"], blocks)
        again, _ = self.run_prompt("--store", self.store, "--store-key", key)
        self.assertGreater(again["reused_tokens"], 0)
        self.assertEqual(again["ids"], answer["ids"])
        self.assertEqual(self.run_prompt("--store", self.store)[0]["reused_tokens"], 0)

    def test_compressing_finds_damage(self):
        self.run_prompt("--store", self.store)
        segment, = (self.store / "segments").iterdir()
        data = bytearray(segment.read_bytes())
        data[9000] ^= 64
        segment.write_bytes(data)
        done = cairn("store", "compress", self.store, "--json")
        self.assertEqual(done.returncode, CORRUPT)
        self.assertEqual(json.loads(done.stdout)["damaged"], 1)
        self.output("store", "verify", self.store)

    def test_an_interrupted_compression_loses_nothing(self):
        answer, _ = self.run_prompt("--store", self.store)
        for delay in (0.0, 0.01, 0.02, 0.04, 0.08):
            process = subprocess.Popen([BINARY, "store", "compress", str(self.store), "--level", "19"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            process.communicate()
            again, _ = self.run_prompt("--store", self.store)
            self.assertEqual(again["ids"], answer["ids"])
            self.assertEqual(again["reused_tokens"], (again["prompt_tokens"] - 1) // BLOCK * BLOCK)


if __name__ == "__main__":
    unittest.main()

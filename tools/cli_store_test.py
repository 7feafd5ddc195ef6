#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cairn run --store` and `cairn store` from outside. CAIRN_BINARY names the binary."""
import json
import pathlib
import shutil
import subprocess
import time
import unittest

from cli_test import (BINARY, CORRUPT, DOCUMENT, IO, MODEL, NOT_FOUND, UNSUPPORTED, USAGE, CommandLine,
                      cairn)

BLOCK = 64
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "cairn/store/golden"


class StoreCase(CommandLine):
    """A folder for a store, and a prompt that fills some blocks of it."""

    def setUp(self):
        super().setUp()
        self.store = self.folder / "kv"
        self.prompt = self.file("prompt.txt", DOCUMENT[:2400].encode())

    def run_prompt(self, *more, prompt=None):
        done = cairn("run", "-m", MODEL, "-f", prompt or self.prompt, "--raw", "-n", 6, "--temp", 0, "--json", *more)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return json.loads(done.stdout), done.stderr.decode()

    def json(self, *arguments):
        return json.loads(self.output("store", *arguments, "--json"))


class Store(StoreCase):
    def test_a_prefix_outlives_the_process(self):
        cold, _ = self.run_prompt()
        first, _ = self.run_prompt("--store", self.store)
        second, _ = self.run_prompt("--store", f"ram:64MiB,{self.store}")
        self.assertEqual(first["reused_tokens"], 0)
        self.assertEqual(second["reused_tokens"], (second["prompt_tokens"] - 1) // BLOCK * BLOCK)
        self.assertEqual([cold["ids"]] * 2, [first["ids"], second["ids"]])

    def test_looking_into_it(self):
        answer, _ = self.run_prompt("--store", self.store)
        blocks = answer["prompt_tokens"] // BLOCK
        stat = self.json("stat", self.store)
        self.assertEqual(stat["blocks"], blocks)
        self.assertIn("codec_plan", stat["recipes"][0]["text"])
        listed = self.json("ls", self.store)
        self.assertEqual([entry["first_token"] for entry in listed], [BLOCK * i for i in range(blocks)])
        self.assertEqual([entry["parent"] for entry in listed[1:]], [entry["key"] for entry in listed[:-1]])
        self.assertEqual(self.json("verify", self.store)["blocks"], {"ok": blocks})
        for command in ("stat", "ls", "verify", "gc", "doctor"):
            self.output("store", command, self.store)
        key = listed[1]["key"]
        self.assertEqual(self.json("pin", self.store, key[:12], "--for", "100")["blocks"], 1)
        self.assertGreater(self.json("ls", self.store, "--prefix", key)[0]["pinned_until"], time.time())
        self.assertEqual(self.json("pin", self.store, key[:12], "--unpin")["until"], 0)

    def explain(self, *more):
        return self.json("explain", self.store, "-m", MODEL, "-f", self.prompt, *more)

    def test_explains_each_block(self):
        answer, _ = self.run_prompt("--store", self.store)
        blocks = (answer["prompt_tokens"] - 1) // BLOCK
        self.assertEqual([block["why"] for block in self.explain()["blocks"]], ["here"] * blocks)
        other = self.explain("--codec", "tok4")["blocks"][0]["why"]
        self.assertRegex(other, "another recipe: codec_plan: .* here, .* there")
        self.assertIn("never stored", self.explain("--tenant", "bob")["blocks"][0]["why"])
        # A flipped bit in three blocks: those behind the first of them cannot be reached.
        segment, = (self.store / "segments").iterdir()
        data = bytearray(segment.read_bytes())
        record = len(data) // (answer["prompt_tokens"] // BLOCK)
        for damaged, at in ((2, 5000), (4, record // 2), (5, record * 3 // 4)):  # in several layers
            data[damaged * record + at] ^= 1
        segment.write_bytes(data)
        explained = self.explain()
        self.assertEqual(explained["usable_tokens"], 2 * BLOCK)
        self.assertEqual(explained["blocks"][2]["status"], "corrupt")
        self.assertIn("unreachable", explained["blocks"][3]["why"])
        again, _ = self.run_prompt("--store", self.store)
        self.assertEqual(again["reused_tokens"], 2 * BLOCK)
        self.assertEqual(again["ids"], answer["ids"])
        self.assertEqual([block["why"] for block in self.explain()["blocks"]], ["here"] * blocks, "one run repairs all")

    def test_verify_finds_and_erases_damage(self):
        self.run_prompt("--store", self.store)
        segment, = (self.store / "segments").iterdir()
        data = bytearray(segment.read_bytes())
        data[9000] ^= 64
        segment.write_bytes(data)
        done = cairn("store", "verify", self.store)
        self.assertEqual(done.returncode, CORRUPT)
        self.assertIn(b"damaged and erased", done.stdout)
        self.output("store", "verify", self.store)

    def test_names_records_of_an_earlier_format(self):
        self.run_prompt("--store", self.store)
        (self.store / "checkpoint").unlink()
        shutil.copy(GOLDEN / "segment_v1.seg", self.store / "segments" / "000000ff.seg")
        # Its place in the file is not the one that it was written for: nobody takes it for a record.
        self.assertEqual(self.json("stat", self.store)["foreign"], 0)
        for segment in (self.store / "segments").iterdir():
            segment.unlink()
        shutil.copy(GOLDEN / "segment_v1.seg", self.store / "segments" / "00000001.seg")
        line = "1 block has format version 1; this build reads version 2"
        self.assertIn("\n" + line + "\n", self.output("store", "stat", self.store).decode())
        self.assertEqual(self.json("stat", self.store)["foreign"], 1)
        copy = self.folder / "copy"
        shutil.copytree(self.store, copy)
        self.assertIn(line + "; they are erased", self.output("store", "doctor", copy).decode())
        for command in (["gc"], ["compress"], ["ls"], ["move", self.folder / "elsewhere"]):
            with self.subTest(command[0]):
                shutil.rmtree(copy)
                shutil.copytree(self.store, copy)
                done = cairn("store", command[0], copy, *command[1:])
                self.assertIn(line, done.stderr.decode())
        shutil.rmtree(copy)
        shutil.copytree(self.store, copy)
        done = cairn("run", "-m", MODEL, "-p", "Hello", "-n", "1", "--store", copy)
        self.assertEqual(done.returncode, 0)
        self.assertIn(line + "; they are erased", done.stderr.decode())
        self.assertIn("\n" + line + "; erased\n", self.output("store", "verify", self.store).decode())
        self.assertEqual(self.json("verify", self.store)["foreign"], 0)
        self.assertEqual(list((self.store / "segments").iterdir()), [])

    def test_moving_and_clearing(self):
        answer, _ = self.run_prompt("--store", self.store)
        blocks = answer["prompt_tokens"] // BLOCK
        other = self.folder / "other"
        self.assertEqual(self.json("move", self.store, other, "--copy")["copied"], blocks)
        self.assertEqual(self.run_prompt("--store", other)[0]["ids"], answer["ids"])
        key = self.json("ls", self.store)[1]["key"]
        self.json("pin", self.store, key, "--for", "100")
        third = self.folder / "third"
        self.assertEqual(self.json("move", self.store, third)["moved"], blocks)
        pinned = [entry["key"] for entry in self.json("ls", third) if entry["pinned_until"] > time.time()]
        self.assertEqual(pinned, [key])
        self.assert_error(NOT_FOUND, "is empty", "store", "move", self.store, third)
        self.assertEqual(self.json("stat", self.store)["blocks"], 0)
        self.assert_error(USAGE, "--yes", "store", "clear", other)
        self.assertEqual(self.json("clear", other, "--yes")["erased"], blocks)

    def test_moving_loses_nothing(self):
        """Damage at the target gives way, and a store that is moved onto itself by another name stays."""
        self.run_prompt("--store", self.store)
        other = self.folder / "other"
        blocks = self.json("move", self.store, other, "--copy")["copied"]
        segment, = (other / "segments").iterdir()
        data = bytearray(segment.read_bytes())
        data[-2000] ^= 1
        segment.write_bytes(data)
        self.assertEqual(self.json("move", self.store, other)["moved"], blocks)
        self.assertEqual(self.json("verify", other)["blocks"], {"ok": blocks})
        redis = shutil.which("redis-server")
        if not redis:
            self.skipTest("no redis-server")
        socket = self.folder / "redis"
        server = subprocess.Popen([redis, "--port", "0", "--unixsocket", socket, "--save", ""], stdout=subprocess.DEVNULL)
        self.addCleanup(lambda: (server.kill(), server.wait()))
        deadline = time.monotonic() + 20
        while not socket.exists():
            self.assertLess(time.monotonic(), deadline, "redis-server did not start")
            time.sleep(0.01)
        (self.folder / "alias").symlink_to(socket)
        self.json("move", other, f"unix://{socket}", "--copy")
        self.assert_error(USAGE, "the same store", "store", "move", f"unix://{socket}", f"unix://{self.folder / 'alias'}")
        self.assertEqual(self.json("verify", f"unix://{socket}")["blocks"], {"ok": blocks})

    def test_a_limit_on_files_is_a_failed_write(self):
        answer, _ = self.run_prompt()
        done = subprocess.run(f"ulimit -f 300; exec {BINARY} run -m {MODEL} -f {self.prompt} --raw -n 6 --temp 0 --json "
                              f"--store {self.store}", shell=True, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["ids"], answer["ids"])

    def test_encryption(self):
        key, wrong = self.file("key", b"01" * 32), self.file("wrong", b"ab" * 32)
        for path in (key, wrong):
            path.chmod(0o600)
        answer, _ = self.run_prompt("--store", self.store, "--store-key", key)
        again, _ = self.run_prompt("--store", self.store, "--store-key", key)
        self.assertGreater(again["reused_tokens"], 0)
        self.assertEqual(self.explain("--store-key", key)["usable_tokens"], again["reused_tokens"])
        for more, why in (([], "give their key"), (["--store-key", wrong], "another key")):
            other, warning = self.run_prompt("--store", self.store, *more)
            self.assertEqual((other["reused_tokens"], other["ids"]), (0, answer["ids"]))
            self.assertRegex(warning, rf"\Acairn: blocks in [^\n]+{why}[^\n]*\n\Z")
            self.assert_error(USAGE, why, "run", "-m", MODEL, "-p", "x", "--store", self.store, "--store-required", *more)
            explained = self.explain(*more)
            self.assertEqual(explained["usable_tokens"], 0)
            self.assertIn(why, explained["blocks"][0]["why"])
        self.assertGreater(self.run_prompt("--store", self.store, "--store-key", key)[0]["reused_tokens"], 0)
        plain = self.folder / "plain"
        self.run_prompt("--store", plain)
        self.assertIn("without encryption", self.run_prompt("--store", plain, "--store-key", key)[1])
        mixed = self.folder / "mixed"  # older blocks are no reason to do without the newer ones
        self.run_prompt("--store", mixed, prompt=self.file("old.txt", DOCUMENT[7:600].encode()))
        for warned in (True, False):
            self.assertEqual(self.run_prompt("--store", mixed, "--store-key", key)[1] != "", warned)
        self.run_prompt("--store", mixed, "--store-key", key, "--store-required")
        key.chmod(0o644)
        self.assert_error(USAGE, "chmod 600", "run", "-m", MODEL, "-p", "x", "--store", self.store, "--store-key", key)
        short = self.file("short", b"0102")
        short.chmod(0o600)
        self.assert_error(USAGE, "64 hexadecimal", "run", "-m", MODEL, "-p", "x", "--store", self.store, "--store-key",
                          short)

    def test_blocks_expire(self):
        self.run_prompt("--store", self.store, "--store-ttl", 1)
        time.sleep(2.1)
        self.assertGreater(self.json("gc", self.store)["expired"], 0)
        self.assertEqual(self.run_prompt("--store", self.store)[0]["reused_tokens"], 0)

    def test_a_store_that_does_not_open(self):
        (self.folder / "full").mkdir()
        self.file("full/letter.txt", b"dear")
        for name, words, status in ((self.folder / "full", "not a store", USAGE), ("ftp://x", "no kind of store", USAGE),
                                    ("ram:lots", "no size", USAGE), ("redis://127.0.0.1:1", "127.0.0.1:1", IO),
                                    ("/proc/nowhere", "/proc/nowhere", IO)):
            with self.subTest(name=name):
                answer, warning = self.run_prompt("--store", name)
                self.assertEqual(answer["reused_tokens"], 0)
                self.assertRegex(warning, r"\Acairn: going on without this store: [^\n]+\n\Z")
                self.assertIn(words, warning)
                self.assert_error(status, words, "run", "-m", MODEL, "-p", "x", "--store", name, "--store-required")
        self.run_prompt("--store", self.store)
        (self.store / "cairn-store").write_text("cairn store 7\n")
        self.assert_error(UNSUPPORTED, "format 7", "run", "-m", MODEL, "-p", "x", "--store", self.store,
                          "--store-required")

    def test_bad_commands(self):
        for command in ("stat", "ls", "verify", "gc", "compress"):
            self.assert_error(NOT_FOUND, "no store", "store", command, self.folder / "nowhere")
        self.assertFalse((self.folder / "nowhere").exists())
        self.assert_error(USAGE, "--help", "store")
        self.assert_error(USAGE, "memory", "store", "stat", "ram:1MiB")
        self.run_prompt("--store", self.store)
        self.assert_error(NOT_FOUND, "zz", "store", "pin", self.store, "zz")
        before = self.json("stat", self.store)["blocks"]
        self.assertEqual(cairn("store", "doctor", self.store, "--store-size", "1000").returncode, USAGE)
        self.assertEqual(self.json("stat", self.store)["blocks"], before, "looking at a store changed it")
        for flags in (["--timeout", "-1"], ["--timeout", "0"]):
            self.assert_error(USAGE, "timeout", "store", "stat", self.store, *flags)
        self.assert_error(USAGE, "--for", "store", "pin", self.store, "0", "--for", "9223372036854775807")
        self.assert_error(USAGE, "first digits", "store", "pin", self.store, "")
        done = cairn("store", "clear", "redis://:secret@127.0.0.1:1/")
        self.assertNotIn(b"secret", done.stderr)
        loop = self.folder / "loop"
        loop.symlink_to(loop)
        self.assertIn("going on without", self.run_prompt("--store", loop)[1])

    def test_tenants_do_not_meet(self):
        mine, _ = self.run_prompt("--store", self.store, "--tenant", "alice")
        other, _ = self.run_prompt("--store", self.store, "--tenant", "bob", "--store-tenant-size", "600KiB")
        again, _ = self.run_prompt("--store", self.store, "--tenant", "alice")
        self.assertEqual((mine["reused_tokens"], other["reused_tokens"]), (0, 0))
        self.assertGreater(again["reused_tokens"], 0)
        self.assertEqual([other["ids"], again["ids"]], [mine["ids"]] * 2)
        sizes = {entry["tenant"]: entry["bytes"] for entry in self.json("stat", self.store)["recipes"]}
        self.assertLessEqual(min(sizes.values()), 600 << 10)

    def test_a_budget_below_the_prompt_keeps_its_head(self):
        for _ in range(2):
            answer, _ = self.run_prompt("--store", self.store, "--store-size", "1200KiB")
        self.assertGreater(answer["reused_tokens"], 0)

    def test_a_budget_below_one_block_is_said(self):
        for options in (["--store", "ram:1KiB"], ["--store", self.store, "--store-size", "1KiB"],
                        ["--store", self.store, "--store-tenant-size", "1KiB"]):
            with self.subTest(options=options):
                answer, warning = self.run_prompt(*options)
                self.assertRegex(warning, r"\Acairn: store [^\n]+ keeps nothing: [^\n]+\n\Z")
                self.assert_error(USAGE, "keeps nothing", "run", "-m", MODEL, "-p", "x", *options, "--store-required")
        for options in (["--store", "ram:0"], ["--store", self.store, "--store-size", "0"]):
            self.assert_error(USAGE, "holds nothing", "run", "-m", MODEL, "-p", "x", *options, "--store-required")

    def test_two_processes_at_once(self):
        """One writes, the other one reads and says nothing; a command that changes the store has to wait."""
        self.run_prompt("--store", self.store)
        writer = subprocess.Popen([BINARY, "run", "-m", MODEL, "--store", str(self.store)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            for _ in range(200):  # until it has the lock
                time.sleep(0.05)
                done = cairn("store", "gc", self.store)
                if done.returncode != 0:
                    break
            self.assertEqual(done.returncode, IO, done.stderr)
            self.assertIn(b"in use by another process", done.stderr)
            self.assert_error(IO, "in use by another process", "store", "compress", self.store)
            answer, _ = self.run_prompt("--store", self.store)
            self.assertGreater(answer["reused_tokens"], 0)
            self.output("store", "stat", self.store)
        finally:
            writer.kill()
            writer.communicate()
        self.output("store", "gc", self.store)


@unittest.skipIf(shutil.which("redis-server") is None, "redis-server is not installed")
class Redis(CommandLine):
    def test_a_prefix_on_a_server(self):
        socket = self.folder / "r.sock"
        server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir",
                                   str(self.folder)], stdout=subprocess.DEVNULL)
        try:
            for _ in range(100):
                if socket.exists():
                    break
                time.sleep(0.05)
            prompt = self.file("prompt.txt", DOCUMENT[:2400].encode())
            answers = []
            for _ in range(2):
                done = cairn("run", "-m", MODEL, "-f", prompt, "--raw", "-n", 6, "--temp", 0, "--json", "--store",
                             f"unix://{socket}")
                self.assertEqual(done.returncode, 0, done.stderr)
                answers.append(json.loads(done.stdout))
            self.assertEqual(answers[0]["ids"], answers[1]["ids"])
            self.assertGreater(answers[1]["reused_tokens"], 0)
            self.assertGreater(json.loads(self.output("store", "stat", f"unix://{socket}", "--json"))["blocks"], 0)
            self.output("store", "verify", f"unix://{socket}")
            done = json.loads(self.output("store", "compress", f"unix://{socket}", "--json"))
            self.assertGreater(done["compressed"], 0)
            again = cairn("run", "-m", MODEL, "-f", prompt, "--raw", "-n", 6, "--temp", 0, "--json", "--store",
                          f"unix://{socket}")
            answers.append(json.loads(again.stdout))
            self.assertEqual((answers[2]["ids"], answers[2]["reused_tokens"]),
                             (answers[1]["ids"], answers[1]["reused_tokens"]))
            stat = json.loads(self.output("store", "stat", f"unix://{socket}", "--json"))
            self.assertEqual(stat["compressed"], done["compressed"])
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    unittest.main()

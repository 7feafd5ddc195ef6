#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command line on the demo model: results, one-line errors and exit statuses. CAIRN_BINARY names the binary."""
import json
import os
import pty
import re
import resource
import select
import signal
import struct
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = os.environ.get("CAIRN_BINARY", str(ROOT / "build/release/bin/cairn"))
MODEL = str(ROOT / "models/cairn-tiny-f16.gguf")
DOCUMENT = (ROOT / "examples/demo_document.txt").read_text()
QUESTION = "The code of river is 5931.\nThe code of garden is 2784.\n\nQuestion: What is the code of river?\nAnswer:"

USAGE, NOT_FOUND, IO, CORRUPT, UNSUPPORTED, TOO_LONG, OUT_OF_BUDGET, INTERRUPTED = 2, 3, 4, 5, 6, 7, 8, 130


def cairn(*arguments, stdin=b"", **options):
    return subprocess.run([BINARY, *map(str, arguments)], input=stdin, capture_output=True, timeout=120, **options)


class CommandLine(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, name, data):
        path = self.folder / name
        path.write_bytes(data)
        return path

    def output(self, *arguments, **options):
        done = cairn(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        self.assertEqual(done.stderr, b"")
        return done.stdout

    def assert_error(self, status, words, *arguments, **options):
        done = cairn(*arguments, **options)
        message = done.stderr.decode()
        self.assertEqual(done.returncode, status, message)
        self.assertEqual(done.stdout, b"")
        self.assertRegex(message, r"\Acairn: [^\n]+\n\Z")
        self.assertIn(words, message)


class Help(CommandLine):
    def test_help_lists_commands_and_exit_statuses(self):
        text = self.output("--help").decode()
        for word in ("run", "inspect", "tokenize", "bench", "plan", "demo", "Exit status", "130"):
            self.assertIn(word, text)

    def test_each_kind_of_error_has_a_status_of_its_own(self):
        table = self.output("--help").decode().split("Exit status:")[1]
        statuses = re.findall(r"^  (\d+) ", table, re.MULTILINE)
        self.assertEqual(statuses, "0 1 2 3 4 5 6 7 8 9 130".split())

    def test_each_command_has_help(self):
        for command in ("run", "inspect", "tokenize", "bench", "plan", "demo"):
            self.assertIn("--model", self.output(command, "--help").decode())

    def test_version(self):
        self.assertRegex(self.output("--version").decode(), r"\Acairn \d+\.\d+\.\d+ \([^)]+\)\n\Z")


class BadInput(CommandLine):
    def test_flags(self):
        self.assert_error(USAGE, "--help", "run", "-m", MODEL, "--no-such-flag")
        self.assert_error(USAGE, "s3fifo", "run", "-m", MODEL, "-p", "x", "--cache-eviction", "random")
        self.assert_error(USAGE, "--help", "run")
        self.assert_error(USAGE, "--help")
        self.assert_error(USAGE, "--help", "run", "-m", MODEL, "-p", "x", "-n", "many")
        self.assert_error(USAGE, "--help", "run", "-m", MODEL, "-p", "x", "--raw", "--chat-template", "plain")
        self.assert_error(USAGE, "threads", "run", "-m", MODEL, "-p", "x", "-t", "100000")
        self.assert_error(USAGE, "depths", "bench", "-m", MODEL, "--depths", "0,4294967295")
        self.assert_error(USAGE, "top-p", "run", "-m", MODEL, "-p", "x", "--top-p", "7")

    def test_threads_that_the_system_refuses(self):
        def small_address_space():
            resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

        if cairn("--version", preexec_fn=small_address_space).returncode != 0:
            self.skipTest("this build does not start in a small address space (sanitizers reserve a large one)")
        self.assert_error(IO, "threads", "run", "-m", MODEL, "-p", "x", "-t", "500", "--kv-budget", "64MiB",
                          preexec_fn=small_address_space)

    def test_missing_file(self):
        for command in (["run", "-p", "x"], ["inspect"], ["tokenize", "-p", "x"], ["bench"]):
            self.assert_error(NOT_FOUND, "nowhere.gguf", *command, "-m", self.folder / "nowhere.gguf")
        self.assert_error(NOT_FOUND, "nowhere.txt", "run", "-m", MODEL, "-f", self.folder / "nowhere.txt")

    def test_directory(self):
        self.assert_error(IO, str(self.folder), "inspect", self.folder)
        self.assert_error(IO, str(self.folder), "run", "-m", MODEL, "-f", self.folder)

    def test_wrong_magic(self):
        path = self.file("text.gguf", b"This is no model." * 100)
        self.assert_error(CORRUPT, "GGUF", "run", "-m", path, "-p", "x")

    def test_empty_model(self):
        self.assert_error(CORRUPT, "empty", "run", "-m", self.file("empty.gguf", b""), "-p", "x")

    def test_truncated_model(self):
        whole = Path(MODEL).read_bytes()
        for size in (3, 20, 5000, 200000, len(whole) // 2, len(whole) - 1):
            with self.subTest(size=size):
                self.assert_error(CORRUPT, "cut.gguf", "run", "-m", self.file("cut.gguf", whole[:size]), "-p", "x")

    def test_unsupported_architecture(self):
        whole = Path(MODEL).read_bytes()
        path = self.file("other.gguf", whole.replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0mamba", 1))
        self.assert_error(UNSUPPORTED, "mamba", "run", "-m", path, "-p", "x")
        self.assertIn("\nrunnable        no: ", self.output("inspect", path).decode())

    def test_unsupported_tensor_type(self):
        whole = bytearray(Path(MODEL).read_bytes())
        name = b"blk.0.attn_q.weight"
        at = whole.index(struct.pack("<Q", len(name)) + name) + 8 + len(name)
        dims = struct.unpack_from("<I", whole, at)[0]
        struct.pack_into("<I", whole, at + 4 + 8 * dims, 24)  # I8: known size, smaller than F16, no kernels for it
        path = self.file("odd.gguf", bytes(whole))
        self.assert_error(UNSUPPORTED, name.decode(), "run", "-m", path, "-p", "x")
        report = json.loads(self.output("inspect", path, "--json"))
        self.assertFalse(report["runnable"])
        self.assertIn("I8", [entry["type"] for entry in report["tensor_types"] if not entry["supported"]])

    def test_empty_prompt(self):
        self.assert_error(USAGE, "prompt", "run", "-m", MODEL, "-p", "")
        self.assert_error(USAGE, "prompt", "run", "-m", MODEL, "-f", self.file("empty.txt", b""))

    def test_prompt_longer_than_the_context(self):
        self.assert_error(TOO_LONG, "2048", "run", "-m", MODEL, "-p", "word " * 3000)
        self.assert_error(TOO_LONG, "64", "run", "-m", MODEL, "-p", DOCUMENT, "--ctx", "64")

    def test_budget_too_small(self):
        self.assert_error(OUT_OF_BUDGET, "budget", "run", "-m", MODEL, "-p", "x", "--kv-budget", "1KiB")
        self.assert_error(OUT_OF_BUDGET, "budget", "run", "-m", MODEL, "-p", DOCUMENT, "--kv-budget", "1MiB")

    def test_unknown_codec(self):
        self.assert_error(UNSUPPORTED, "raw_f16", "run", "-m", MODEL, "-p", "x", "--codec", "zstd")
        self.assert_error(UNSUPPORTED, "cairn tune codebooks", "run", "-m", MODEL, "-p", "x", "--codec", "pq4")
        self.assert_error(NOT_FOUND, "plan.toml", "run", "-m", MODEL, "-p", "x", "--codec", "/no/such/plan.toml")

    def test_a_compressed_cache_answers(self):
        for codec in ("tok4", "kivi4-g64/tok8+sinks=1", "zip"):
            answer = json.loads(self.output("run", "-m", MODEL, "-p", DOCUMENT, "-n", "4", "--temp", "0", "--json",
                                            "--codec", codec))
            self.assertLess(answer["kv_bytes"], 2_000_000, codec)

    def test_unknown_template(self):
        self.assert_error(USAGE, "chatml", "run", "-m", MODEL, "-p", "x", "--chat-template", "nosuch")

    def test_full_disk(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BINARY, "inspect", MODEL], stdout=full, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.returncode, IO)


class Tokenize(CommandLine):
    def test_round_trip(self):
        for text in ("Hello world", "  two  spaces\n\ttab", "Grüße, 世界 🪨", "a\u0301", "x" * 500, DOCUMENT):
            ids = json.loads(self.output("tokenize", "-m", MODEL, "--ids", "--no-bos", "-p", text))
            back = self.output("tokenize", "-m", MODEL, "--decode", ",".join(map(str, ids))).decode()
            self.assertEqual(back, text + "\n")

    def test_invalid_utf8_is_bytes(self):
        data = b"caf\xe9 \xff\x80 end"
        ids = json.loads(self.output("tokenize", "-m", MODEL, "--ids", "--no-bos", stdin=data))
        self.assertEqual(self.output("tokenize", "-m", MODEL, "--decode", ",".join(map(str, ids))), data + b"\n")

    def test_sources_agree(self):
        ids = self.output("tokenize", "-m", MODEL, "--ids", "-p", "one two")
        self.assertEqual(ids, self.output("tokenize", "-m", MODEL, "--ids", stdin=b"one two"))
        self.assertEqual(ids, self.output("tokenize", "-m", MODEL, "--ids", "-f", self.file("t.txt", b"one two")))

    def test_lines(self):
        lines = self.output("tokenize", "-m", MODEL, "--lines", stdin=b"one\n\ntwo words\n").decode().splitlines()
        self.assertEqual([bool(json.loads(line)) for line in lines], [True, False, True])
        self.assertEqual(json.loads(lines[0]),
                         json.loads(self.output("tokenize", "-m", MODEL, "--ids", "--no-bos", "-p", "one")))

    def test_id_outside_the_vocabulary(self):
        self.assert_error(USAGE, "4096", "tokenize", "-m", MODEL, "--decode", "999999")


class Inspect(CommandLine):
    def test_json(self):
        report = json.loads(self.output("inspect", MODEL, "--json", "--tensors", "--digest"))
        self.assertEqual(report["architecture"], "llama")
        self.assertEqual(report["model"]["layers"], 6)
        self.assertEqual(report["kv_bytes_per_token"]["raw_f16"], 3072)
        self.assertTrue(report["runnable"])
        self.assertRegex(report["weights_digest"], r"\A[0-9a-f]{64}\Z")
        self.assertEqual(sum(entry["tensors"] for entry in report["tensor_types"]), len(report["tensors"]))

    def test_the_attention_factor_is_shown(self):
        """With a key more: the records that go in are as long as the file's alignment asks."""
        data = Path(MODEL).read_bytes()
        magic, version, tensors, keys = struct.unpack("<4sIQQ", data[:24])

        def string(text):
            return struct.pack("<Q", len(text)) + text

        key = string(b"llama.rope.scaling.attn_factor") + struct.pack("<If", 6, 1.25)
        rest = string(b"pad") + struct.pack("<I", 8)
        padding = string(b"x" * ((-len(key) - len(rest) - 8) % 32))
        changed = struct.pack("<4sIQQ", magic, version, tensors, keys + 2) + key + rest + padding + data[24:]
        report = json.loads(self.output("inspect", self.file("m.gguf", changed), "--json"))
        self.assertEqual(report["model"]["rope"]["attention_factor"], 1.25)
        self.assertNotIn("attention_factor", json.loads(self.output("inspect", MODEL, "--json"))["model"]["rope"])

    def test_text(self):
        text = self.output("inspect", MODEL).decode()
        for words in ("llama", "\nrunnable        yes\n", "3072 bytes as raw_f16", "F16"):
            self.assertIn(words, text)

    def test_a_tokenizer_that_run_refuses_is_in_the_way(self):
        whole = Path(MODEL).read_bytes()
        name = b"\x14\0\0\0\0\0\0\0tokenizer.ggml.model\x08\0\0\0\x05\0\0\0\0\0\0\0"
        self.assertEqual(whole.count(name + b"llama"), 1)
        path = self.file("berty.gguf", whole.replace(name + b"llama", name + b"berty"))
        self.assert_error(UNSUPPORTED, "berty", "run", "-m", path, "-p", "x")
        report = json.loads(self.output("inspect", path, "--json"))
        self.assertFalse(report["runnable"])
        self.assertIn("berty", report["problem"])
        self.assertEqual(report["model"]["layers"], 6)
        self.assertRegex(self.output("inspect", path).decode(), r"\nrunnable +no: .*berty")


class Run(CommandLine):
    def test_answers_and_repeats_itself(self):
        first = self.output("run", "-m", MODEL, "--raw", "-p", QUESTION, "-n", "6", "--temp", "0")
        self.assertIn(b"5931", first)
        again = self.output("run", "-m", MODEL, "--raw", "-f", self.file("q.txt", QUESTION.encode()), "-n", "6",
                            "--temp", "0", "--threads", "1")
        self.assertEqual(first, again)

    def test_seed_decides_the_sample(self):
        def sample(seed):
            return self.output("run", "-m", MODEL, "--raw", "-p", "It was", "-n", "24", "--temp", "1.5", "--seed", seed)
        self.assertEqual(sample(7), sample(7))
        self.assertNotEqual(sample(7), sample(8))

    def test_json(self):
        answer = json.loads(self.output("run", "-m", MODEL, "--raw", "-p", QUESTION, "-n", "6", "--temp", "0",
                                        "--json"))
        self.assertIn("5931", answer["text"])
        self.assertEqual(answer["stop"], "length")
        self.assertEqual(answer["generated_tokens"], 6)
        self.assertGreater(answer["prompt_tokens"], 20)

    def test_instruction_sets_agree(self):
        outputs = set()
        for isa in ("scalar", "avx2", "avx512"):
            environment = dict(os.environ, CAIRN_ISA=isa)
            done = cairn("run", "-m", MODEL, "--raw", "-p", QUESTION, "-n", "6", "--temp", "0", env=environment)
            if done.returncode == 0:
                outputs.add(done.stdout)
        self.assertEqual(len(outputs), 1)

    def test_bytes_that_are_no_text(self):
        self.output("run", "-m", MODEL, "--raw", "-f", self.file("q.bin", bytes(range(1, 256))), "-n", "4")

    def test_stats_go_to_stderr(self):
        done = cairn("run", "-m", MODEL, "--raw", "-p", QUESTION, "-n", "4", "--temp", "0", "--stats")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr.decode(), r"prompt \d+ tokens")

    def test_answer_fills_the_context(self):
        answer = json.loads(self.output("run", "-m", MODEL, "--raw", "-p", "a b c", "-n", "500", "--ctx", "64",
                                        "--temp", "1", "--seed", "1", "--json"))
        self.assertEqual(answer["stop"], "context")
        self.assertLessEqual(answer["prompt_tokens"] + answer["generated_tokens"], 65)


class Chat(CommandLine):
    """A terminal of its own, because Ctrl-C is a matter of terminals."""

    def start(self, *arguments):
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.execv(BINARY, [BINARY, "run", "-m", MODEL, *arguments])
        self.addCleanup(os.close, self.terminal)
        self.seen = b""

    def wait_for(self, pattern, timeout=60):
        end = time.monotonic() + timeout
        while not re.search(pattern, self.seen):
            ready, _, _ = select.select([self.terminal], [], [], max(0, end - time.monotonic()))
            try:
                data = os.read(self.terminal, 65536) if ready else b""
            except OSError:
                data = b""
            if not data:
                self.fail(f"no {pattern!r} in {self.seen!r}")
            self.seen += data
        self.seen = self.seen[re.search(pattern, self.seen).end():]

    def type(self, data):
        os.write(self.terminal, data)

    def exit_status(self):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if select.select([self.terminal], [], [], 0.1)[0]:
                try:
                    os.read(self.terminal, 65536)
                except OSError:
                    pass  # the other end is closed
            child, status = os.waitpid(self.child, os.WNOHANG)
            if child != 0:
                return os.waitstatus_to_exitcode(status)
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        self.fail("the program did not end")

    def test_interrupt_stops_the_answer_and_then_the_program(self):
        self.start("--temp", "0", "--ignore-eos", "-n", "100000", "--ctx", "100000")
        self.wait_for(rb"> ")
        self.type(b"Tell me\n")
        self.wait_for(rb"Tell me\r\n.+")
        time.sleep(0.3)
        os.kill(self.child, signal.SIGINT)
        self.wait_for(rb"\n> ")
        self.type(b"\x03")  # at the prompt
        self.assertEqual(self.exit_status(), 0)

    def test_history_is_reused(self):
        self.start("--temp", "0", "-n", "70", "--ignore-eos", "--stats")
        self.wait_for(rb"> ")
        self.type(b"The code of river is 5931.\n")
        self.wait_for(rb"reused 0")
        self.wait_for(rb"\n> ")
        self.type(b"What is the code of river?\n")
        self.wait_for(rb"reused (?!0)\d+")
        self.wait_for(rb"\n> ")
        self.type(b"\x04")
        self.assertEqual(self.exit_status(), 0)


class Demo(CommandLine):
    def test_claims_nothing_where_nothing_was_reused(self):
        done = cairn("demo", "-m", MODEL, "--document", ROOT / "examples/demo_document.txt", "--question", "Who?")
        self.assertEqual(done.returncode, USAGE)
        self.assertNotIn(b"identical", done.stdout)

    def test_demo(self):
        text = self.output("demo", "-m", MODEL, "--document", ROOT / "examples/demo_document.txt").decode()
        self.assertIn("bit-identical", text)
        self.assertIn("5931", text)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cairn load` against `cairn serve` on the demo model. CAIRN_BINARY names the binary."""
import json
import shutil
import signal
import socket
import subprocess
import time
import unittest

from cli_serve_test import KEY, Server
from cli_test import BINARY, DOCUMENT, INTERRUPTED, IO, MODEL, NOT_FOUND, USAGE, cairn


class Loading(Server):
    def setUp(self):
        super().setUp()
        self.start(MODEL)
        self.url = f"http://127.0.0.1:{self.port}"

    def load(self, *arguments):
        return json.loads(self.output("load", "--url", f"a={self.url}", "--ignore-eos", "--json", *arguments))

    def test_a_shared_document_is_computed_once(self):
        shared = self.load("--clients", 4, "--document-tokens", 400, "--max-tokens", 8, "--rounds", 2)
        self.assertAlmostEqual(shared["document_tokens"], 400, delta=8)
        self.assertFalse(shared["approximate_lengths"])
        server = shared["servers"][0]
        self.assertEqual(server["model"], "cairn-tiny-f16")
        for one in server["rounds"]:
            self.assertEqual((one["requests"], one["succeeded"], one["output_tokens"]), (4, 4, 32))
        self.assertGreater(server["medians"]["hit_rate"], 50)
        self.assertEqual(server["to_first"]["ttft_p50_ms"], {"of_medians": 1, "low": 1, "high": 1})
        warm = self.load("--clients", 4, "--document-tokens", 400, "--max-tokens", 8, "--rounds", 1, "--warm")
        self.assertGreater(warm["servers"][0]["medians"]["hit_rate"], server["medians"]["hit_rate"])
        separate = self.load("--workload", "separate", "--clients", 3, "--document-tokens", 200, "--rounds", 2)
        self.assertEqual(separate["servers"][0]["medians"]["hit_rate"], 0)

    def test_requests_are_written_one_a_line(self):
        out = self.folder / "requests.jsonl"
        report = self.load("--workload", "chat", "--clients", 2, "--turns", 3, "--turn-tokens", 40, "--max-tokens", 4, "--rounds", 2,
                           "--slo-ttft", 60000, "--slo-itl", 60000, "--requests-out", out)
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual(len(lines), 12)
        for line in lines:
            self.assertEqual(line["output_tokens"], 4, line)
            self.assertGreater(line["ttft_ms"], 0)
        self.assertGreater(lines[2]["cached_tokens"], 0, "later turns find the earlier ones")
        self.assertEqual(report["servers"][0]["medians"]["goodput"], 100)

    def test_a_long_prompt_among_streams(self):
        report = self.load("--workload", "interference", "--clients", 2, "--long-tokens", 900, "--max-tokens", 150,
                           "--rounds", 1)
        medians = report["servers"][0]["medians"]
        for key in ("long_ttft_ms", "itl_before_p50_ms", "itl_during_p50_ms", "itl_during_max_ms"):
            self.assertGreater(medians[key], 0, key)

    def test_traces_are_replayed_in_time(self):
        mooncake = self.file("mooncake.jsonl", "".join(json.dumps(
            {"timestamp": i * 300, "input_length": 1100, "output_length": 10, "hash_ids": [0, 1, 10 + i]}) + "\n"
            for i in range(4)).encode())
        out = self.folder / "requests.jsonl"
        report = self.load("--trace", mooncake, "--scale", 0.3, "--rounds", 1, "--requests-out", out)
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual([line["due_s"] for line in lines], [0, 0.3, 0.6, 0.9])
        for line in lines:
            self.assertGreaterEqual(line["sent_s"], line["due_s"])
            self.assertEqual(line["output_tokens"], 3)
            self.assertAlmostEqual(line["prompt_tokens"], 330, delta=60)
        self.assertGreater(report["servers"][0]["medians"]["hit_rate"], 30)
        sharegpt = self.file("sharegpt.jsonl", b"".join(json.dumps(
            {"input_tok_ids": list(range(100)), "output_toks": 5, "arrival_time_ns": i * 10**8}).encode() + b"\n"
            for i in range(3)))
        report = self.load("--trace", sharegpt, "--speed", 10, "--limit", 2, "--rounds", 1)
        self.assertEqual(report["servers"][0]["rounds"][0]["output_tokens"], 10)

    def test_two_servers_are_compared(self):
        document = self.file("document.txt", DOCUMENT.encode())
        text = self.output("load", "--url", f"one={self.url}", "--url", f"two={self.url}/v1/", "--document", document,
                           "--document-tokens", 300, "--clients", 2, "--max-tokens", 4, "--rounds", 2).decode()
        self.assertIn("workload document: 2 clients on one document of", text)
        self.assertRegex(text, r"\n +one +two +/ one +by round\n")
        self.assertRegex(text, r"\nTTFT p50, ms +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+-[\d.]+\n")

    def test_failures_are_told(self):
        self.assert_error(IO, "status 400: the context holds", "load", "--url", self.url, "--document-tokens", 5000,
                          "--rounds", 1, "--clients", 2)
        self.assert_error(IO, "timeout", "load", "--url", self.url, "--document-tokens", 1900, "--rounds", 1, "--timeout", 0.01,
                          "--clients", 4)
        half = self.output("load", "--url", self.url, "--trace", self.file("half.jsonl", b"".join(
            json.dumps({"input_length": n, "hash_ids": list(range((n + 511) // 512))}).encode() + b"\n"
            for n in (100, 4000))), "--rounds", 1).decode()
        self.assertIn("of 2 requests failed 1 status 400; first: status 400: the context holds", half)

    def test_an_interrupt_ends_it(self):
        process = subprocess.Popen([BINARY, "load", "--url", self.url, "--clients", "2", "--max-tokens", "900", "--ignore-eos",
                                    "--rounds", "50", "--document-tokens", "100"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + 30
        while self.ask("GET", "/api/state")[1]["loop"]["running"] == 0:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, log = process.communicate(timeout=30)
        self.assertEqual((process.returncode, out, log), (INTERRUPTED, b"", b"cairn: interrupted\n"))


class Keys(Server):
    def test_a_key_is_sent(self):
        digest = cairn("serve", "--hash-key", stdin=KEY.encode() + b"\n").stdout.decode().strip()
        self.start(MODEL, "--api-keys", self.file("keys", f"alice {digest}\n".encode()))
        few = ("load", "--url", f"http://127.0.0.1:{self.port}", "--clients", 1, "--rounds", 1, "--max-tokens", 2,
               "--document-tokens", 50)
        self.assert_error(USAGE, "status 401; give --api-key", *few)
        self.output(*few, "--api-key", KEY)
        self.output(*few, "--api-key-file", self.file("key", KEY.encode() + b"\n"))
        self.assert_error(USAGE, "the first line is empty", *few, "--api-key-file", self.file("empty", b""))


class Tls(Server):
    @unittest.skipUnless(shutil.which("openssl"), "no openssl to make a certificate")
    def test_a_certificate_may_be_trusted(self):
        key, certificate = self.folder / "key.pem", self.folder / "cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        self.start(MODEL, "--tls-cert", certificate, "--tls-key", key)
        few = ("load", "--url", f"https://localhost:{self.port}", "--clients", 1, "--rounds", 1, "--document-tokens", 50)
        self.assert_error(IO, "no TLS connection", *few)
        self.output(*few, "--ca-cert", certificate)


class Usage(Server):
    def test_errors_are_one_line(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            closed = f"http://127.0.0.1:{unused.getsockname()[1]}"
            self.assert_error(IO, f"{closed}: no connection; is the server running?", "load", "--url", closed)
        for words, arguments in (("http://HOST:PORT", ("--url", "nonsense")), ("two servers", ("--url", "http://a", "--url", "http://a")),
                                 ("--url", ()), ("--turns has no meaning", ("--url", "http://a", "--turns", 2)),
                                 ("--workload", ("--url", "http://a", "--workload", "other")),
                                 ("needs --trace", ("--url", "http://a", "--workload", "trace")),
                                 ("--clients", ("--url", "http://a", "--clients", 0))):
            self.assert_error(USAGE, words, "load", *arguments)
        self.assert_error(NOT_FOUND, "none.jsonl", "load", "--url", "http://a", "--trace", self.folder / "none.jsonl")


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cairn replay` from outside: figures of small traces, what is refused, the published traces where they are present."""
import json
import re
import unittest

from cli_test import CORRUPT, IO, NOT_FOUND, ROOT, USAGE, CommandLine

TRACES = ROOT.parent / "shared/data/traces"


def mooncake(*requests, tokens=512):
    return b"".join(json.dumps({"timestamp": 0, "input_length": tokens * len(ids), "output_length": 1,
                                "hash_ids": ids}).encode() + b"\n" for ids in requests)


class Replay(CommandLine):
    def replay(self, *arguments):
        traces = json.loads(self.output("replay", *arguments, "--json"))["traces"]
        return traces[0], {(row["capacity_blocks"], row["policy"]): row for row in traces[0]["rows"]}

    def test_mooncake(self):
        trace = self.file("trace.jsonl", mooncake([1, 2], [3, 4], [1, 2, 5], [9, 2]))
        head, rows = self.replay(trace, "--capacity", "2,4", "--block-bytes", "10")
        self.assertEqual((head["format"], head["requests"], head["input_blocks"], head["distinct_blocks"]),
                         ("mooncake", 4, 9, 6))
        self.assertEqual((head["block_tokens"], head["block_bytes"]), (512, 10))
        # 1 and 2 are in use when 5 comes, so 5 is not kept and 2 is still there in the end.
        self.assertAlmostEqual(rows[2, "lru"]["block_hit_rate"], 1 / 9)
        self.assertEqual(rows[2, "lru"]["blocks_refused"], 1)
        self.assertAlmostEqual(rows[4, "lru"]["block_hit_rate"], 3 / 9)
        self.assertAlmostEqual(rows[None, "lru"]["block_hit_rate"], 3 / 9)
        self.assertAlmostEqual(rows[None, "lru"]["prefix_hit_rate"], 2 / 9)
        self.assertEqual(rows[None, "lru"]["blocks_written"], 6)
        self.assertEqual({policy for _, policy in rows}, {"lru", "s3fifo", "cost", "optimal"})
        for capacity in (2, 4):
            best = rows[capacity, "optimal"]["block_hit_rate"]
            self.assertTrue(all(row["block_hit_rate"] <= best for (c, _), row in rows.items() if c == capacity))

    def test_partial_block(self):
        line = b'{"input_length": 700, "hash_ids": [1, 2]}\n'
        _, rows = self.replay(self.file("t", line + line), "--capacity", "9")
        self.assertAlmostEqual(rows[9, "lru"]["token_hit_rate"], 0.5)

    def test_sharegpt(self):
        first, second = list(range(20)), list(range(20, 32))
        lines = [{"input_tok_ids": first, "output_tok_ids": second}, {"input_tok_ids": first + second + [7]},
                 {"input_tok_ids": [5] + first}]
        trace = self.file("t", b"\n".join(json.dumps(line).encode() for line in lines))
        head, rows = self.replay(trace, "--capacity", "9", "--policy", "lru")
        self.assertEqual((head["format"], head["block_tokens"], head["input_blocks"]), ("sharegpt", 16, 4))
        self.assertAlmostEqual(rows[9, "lru"]["block_hit_rate"], 2 / 4)  # the second block was written as an output
        self.assertAlmostEqual(rows[9, "lru"]["token_hit_rate"], 32 / (20 + 33 + 21))

    def test_text_and_standard_input(self):
        text = self.output("replay", "-", "--policy", "cost", "--capacity", "3", stdin=mooncake([1, 2], [1, 2])).decode()
        self.assertIn("2 requests, 4 input blocks of 512 tokens (64.0 MiB)", text)
        self.assertRegex(text, r"\n3 +cost +0\.5000 +0\.5000 +0\.5000 +0\.5000 +128\.0 MiB +128\.0 MiB +0 B\n")
        self.assertRegex(text, r"\nunbounded +lru +0\.5000")

    def test_plot(self):
        trace = self.file("trace.jsonl", mooncake(*[[i % 7, 10 + i % 7, 100 + i] for i in range(50)]))
        page = self.folder / "plot.html"
        self.output("replay", trace, "--capacity", "4,8,16", "--plot", page)
        self.assertIn("--plot", page.read_text())
        self.output("replay", trace, trace, "--capacity", "4", "--policy", "lru", "--plot", page)
        data = re.search(r'<script type="application/json" id="results">(.*?)</script>', page.read_text(), re.DOTALL)[1]
        self.assertEqual([len(replay["rows"]) for replay in json.loads(data)["traces"]], [2, 2])
        self.assert_error(IO, "plot", "replay", trace, "--capacity", "4", "--plot", self.folder / "no/plot.html")

    def test_bad_lines(self):
        good = mooncake([1])
        for line, words in ((b"{", "not JSON"), (b"[1]", "not a JSON object"), (b"\xff\xfe", "not JSON"),
                            (b'{"hash_ids": 1, "input_length": 1}', "hash_ids"), (b'{"hash_ids": [1]}', "input_length"),
                            (b'{"hash_ids": [-1], "input_length": 512}', "hash_ids"),
                            (b'{"hash_ids": [1.5], "input_length": 512}', "hash_ids"),
                            (b'{"hash_ids": [1], "input_length": 513}', "does not fit"),
                            (b'{"hash_ids": [], "input_length": 18446744073709551615}', "does not fit"),
                            (b'{"input_tok_ids": [1]}', "hash_ids"), (b"[" * 100000, "not JSON")):
            trace = self.file("bad.jsonl", good + b"\n" + line + b"\n")
            self.assert_error(CORRUPT, words, "replay", trace)
            self.assert_error(CORRUPT, "bad.jsonl:3: ", "replay", trace)
        for line, words in ((b'{"input_tok_ids": ["a"]}', "token ids"), (b'{"input_tok_ids": [4294967296]}', "token ids"),
                            (b'{"input_tok_ids": [1], "output_tok_ids": 4}', "output_tok_ids"),
                            (b'{"text": "a"}', "neither")):
            self.assert_error(CORRUPT, words, "replay", self.file("bad.jsonl", line))
        self.assert_error(CORRUPT, "no requests", "replay", self.file("empty", b"\n \n"))
        self.assert_error(CORRUPT, "input_tok_ids", "replay", self.file("t", good), "--format", "sharegpt")
        self.assert_error(NOT_FOUND, "nothing.jsonl", "replay", self.folder / "nothing.jsonl")
        self.assert_error(IO, "directory", "replay", self.folder)

    def test_wrong_flags(self):
        trace = self.file("t", mooncake([1]))
        self.assert_error(USAGE, "lru, s3fifo, cost", "replay", trace, "--policy", "best")
        self.assert_error(USAGE, "--capacity", "replay", trace, "--capacity", "0")
        self.assert_error(USAGE, "--format", "replay", trace, "--format", "csv")
        self.assert_error(USAGE, "trace", "replay")

    def test_requests_without_blocks(self):
        _, rows = self.replay(self.file("t", b'{"hash_ids": [], "input_length": 0}\n'), "--capacity", "1")
        self.assertTrue(all(row["block_hit_rate"] == 0 for row in rows.values()))

    @unittest.skipUnless(TRACES.is_dir(), f"{TRACES} is not there")
    def test_published_figures(self):
        _, rows = self.replay(TRACES / "mooncake_conversation.jsonl", "--capacity", "1000,10000,50000", "--policy", "lru")
        for capacity, hits in ((None, 0.3664), (1000, 0.0445), (10000, 0.2112), (50000, 0.3546)):
            self.assertAlmostEqual(rows[capacity, "lru"]["block_hit_rate"], hits, delta=5e-5)
        _, rows = self.replay(TRACES / "sharegpt_llama31_300.jsonl", "--capacity", "50000", "--policy", "lru")
        self.assertAlmostEqual(rows[None, "lru"]["prefix_hit_rate"], 0.0765, delta=5e-5)


if __name__ == "__main__":
    unittest.main()

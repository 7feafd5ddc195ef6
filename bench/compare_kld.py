#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How far quantised KV caches move next-token distributions, in llama.cpp and in Cairn, as a Markdown table.

Each engine is held against its own f16 cache on the same windows of the same text: mean KL(f16 || quantised) in nats
over the tokens that `cairn eval kld` and llama-perplexity predict, the second half of every window. That both
tokenise the text alike and predict as many tokens is checked.

llama.cpp writes the distributions of each KV type into a file, 16 bits a probability, and bench/logits_divergence
computes what `llama-perplexity --kl-divergence` does: that tool loses the end of its output, where the figure stands.
--check compares with its running table, which has five decimals and lacks a window or two; there f16 against f16 is
the floor of the 16-bit file. llama.cpp rotates keys and values before it quantises them where the size of a head
allows it; rows without are for comparison.

Cairn encodes whole blocks of 64 tokens, and a token attends to its own block as f16; in llama.cpp all of the cache is
quantised. The column "attended" is what a value took that predictions attended to, on average: with longer windows
it comes nearer to what a stored value takes.

Exit status: 0 measured, 2 usage, 3 llama.cpp is missing, 4 a tool failed.
"""
import argparse
import array
import json
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import peer

EXIT_FAILED = 4
BLOCK_TOKENS = 64
RAW_BITS = 16
PEER_BITS = {"f16": 16, "q8_0": 8.5, "q5_1": 6, "q5_0": 5.5, "q4_1": 5, "q4_0": 4.5, "iq4_nl": 4.5}  # scales included
YARDSTICK = "q4_0"


@dataclass(frozen=True)
class PeerCache:
    type: str
    rotate: bool

    @property
    def name(self):
        return self.type if self.rotate else f"{self.type}, not rotated"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=peer.ROOT / "models/cairn-tiny-f16.gguf",
                        help="GGUF file (default: the demo model)")
    parser.add_argument("--text", default=peer.ROOT.parent / "shared/data/text/wikitext2_valid.txt", type=Path,
                        help="the text to predict (default: the validation text of wikitext-2)")
    parser.add_argument("--context", default=512, type=int, help="tokens of a window (default: 512)")
    parser.add_argument("--windows", default=100, type=int, help="at most so many; 0: all (default: 100)")
    parser.add_argument("--recipes", default="tok4,kivi4-g64,kivi4-g32,tok8",
                        help="Cairn's caches, by comma (default: %(default)s)")
    parser.add_argument("--types", default="q4_0,q8_0", help="llama.cpp's, by comma (default: %(default)s)")
    parser.add_argument("--check", action="store_true",
                        help="also run llama.cpp's own comparison of each type, which takes as long again")
    parser.add_argument("-t", "--threads", default=2, type=int, help="of both engines (default: 2)")
    parser.add_argument("--binary", default=peer.ROOT / "build/release/bin/cairn", type=Path,
                        help="the program (default: that of the release build)")
    parser.add_argument("--divergence", default=peer.ROOT / "build/release/bench/logits_divergence", type=Path,
                        help="the program that compares llama.cpp's files (default: that of the release build)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    peer.add_arguments(parser)
    options = parser.parse_args()
    options.types = options.types.split(",")
    for name in options.types:
        if name not in PEER_BITS:
            parser.error(f"unknown type '{name}'; there are {', '.join(PEER_BITS)}")
    for file in (options.model, options.text, options.binary, options.divergence):
        if not file.is_file():
            parser.error(f"there is no file '{file}'")
    return options


def run_ours(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise peer.PeerError(f"{Path(command[0]).name}: {peer.last_line(done.stderr) or done.returncode}")
    return json.loads(done.stdout)


class Llama:
    def __init__(self, options, tool, folder):
        self.options, self.tool, self.folder = options, tool, folder
        self.model, self.text = (Path(shutil.copy(file, folder)) for file in (options.model, options.text))
        self.base = folder / "f16.logits"

    def perplexity(self, cache, *arguments):
        """What the tool says, with its log; it loses the end of that in a pipe, so it gets a file."""
        options = self.options
        words = ["-m", self.model, "-f", self.text, "-c", options.context, "-b", options.context, "-t", options.threads,
                 "-fa", "on", "-ctk", cache.type, "-ctv", cache.type, "-lv", 4, *arguments]
        if options.windows:
            words += ["--chunks", options.windows]
        environment = {} if cache.rotate else {"LLAMA_ATTN_ROT_DISABLE": "1"}
        return self.tool.run_into_file("llama-perplexity", *words, environment=environment)

    def write(self, cache, logits):
        """The distributions under a KV type into a file. Returns the width of the rotation of keys, 0 without."""
        log = self.perplexity(cache, "--save-all-logits", logits)
        if not logits.is_file():
            raise peer.PeerError(f"llama-perplexity wrote no logits: {peer.last_line(log)}")
        rotation = re.search(r"rot_k = (\d+)", log)
        return int(rotation[1]) if rotation else None

    def own_figure(self, cache):
        """The last mean KL of the tool's own running table: windows, nats."""
        table = re.findall(r"^ +(\d+) +\S+ ± +\S+ +\S+ ± +\S+ +(\S+) ±",
                           self.perplexity(cache, "--kl-divergence", "--kl-divergence-base", self.base), re.MULTILINE)
        return {"windows": int(table[-1][0]), "kl": float(table[-1][1])} if table else None

    def row(self, cache):
        other = self.folder / "other.logits"
        rotation = self.write(cache, other)
        found = run_ours(self.options.divergence, self.base, other, "--json")
        other.unlink()
        row = {"engine": "llama.cpp", "type": cache.name, "rotation": rotation, "bits_per_value": PEER_BITS[cache.type],
               "attended_bits": PEER_BITS[cache.type], "windows": found["windows"], "tokens": found["tokens"],
               "kl": found["kl_mean"], "same_top1": found["same_top1"]}
        if self.options.check:
            row["own"] = self.own_figure(cache)
            if row["own"]:
                first = found["kl_of_windows"][: row["own"]["windows"]]
                row["own"]["ours"] = sum(first) / len(first)
        return row

    def tokens(self):
        """Of all windows: the file begins with magic, tokens of a window, vocabulary, windows."""
        with self.base.open("rb") as file:
            _, window, _, windows = struct.unpack("<8s3i", file.read(20))
            tokens = array.array("i")
            tokens.fromfile(file, window * windows)
        return tokens.tolist()


def attended_bits(bits, context):
    """Predictions are made at positions context/2 to context-2; the block of each position is still f16."""
    if bits >= RAW_BITS:
        return bits
    shares = [(position % BLOCK_TOKENS + 1) / (position + 1) for position in range(context // 2, context - 1)]
    raw = sum(shares) / len(shares)
    return raw * RAW_BITS + (1 - raw) * bits


def cairn_rows(options):
    report = run_ours(options.binary, "eval", "kld", "-m", options.model, options.text, "--contexts", options.context,
                      "--windows", options.windows, "-t", options.threads, "--recipes", options.recipes, "--json")
    return [{"engine": "Cairn", "type": row["recipe"], "rotation": None, "bits_per_value": row["bits_per_value"],
             "attended_bits": attended_bits(row["bits_per_value"], options.context), "windows": row["windows"],
             "tokens": row["tokens"], "kl": row["kl"]["mean"], "same_top1": row["same_top1"]}
            for row in report["rows"]]


def check_tokens(options, llama):
    """That both engines read the text as the same tokens."""
    theirs = llama.tokens()
    ours = run_ours(options.binary, "tokenize", "-m", options.model, "-f", options.text, "--ids")[: len(theirs)]
    if ours != theirs:
        first = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
        raise peer.PeerError(f"the engines tokenise the text differently from token {first} on")


def check_counts(rows):
    counts = {(row["windows"], row["tokens"]) for row in rows}
    if len(counts) != 1:
        raise peer.PeerError(f"the engines predicted different numbers of windows and tokens: {sorted(counts)}")


def measure(options, tool, folder):
    llama = Llama(options, tool, folder)
    caches = [PeerCache(name, True) for name in options.types]
    caches += [PeerCache(name, False) for name in options.types if name != "f16"]

    def timed(what, work):
        start = time.monotonic()
        result = work()
        print(f"{what}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        return result

    timed("llama.cpp f16", lambda: llama.write(PeerCache("f16", True), llama.base))
    check_tokens(options, llama)
    rows = [timed(f"llama.cpp {cache.name}", lambda: llama.row(cache)) for cache in caches]
    rows += timed("Cairn", lambda: cairn_rows(options))
    check_counts(rows)
    yardstick = next((row["kl"]["value"] for row in rows if row["type"] == YARDSTICK), None)
    for row in rows:
        row["ratio"] = row["kl"]["value"] / yardstick if yardstick else None
    floor = timed("llama.cpp f16 again", lambda: llama.own_figure(PeerCache("f16", True))) if options.check else None
    return rows, floor


def print_table(rows, floor, version):
    print("| engine | KV type | bits per value | attended | mean KL [95 %] | x llama.cpp q4_0 | same top token |\n"
          "|---|---|--:|--:|--:|--:|--:|")
    for row in rows:
        kl, ratio = row["kl"], "" if row["ratio"] is None else f"{row['ratio']:.3f}"
        rotated = f" (rotated by {row['rotation']})" if row["rotation"] else ""
        print(f"| {row['engine']} | {row['type']}{rotated} | {row['bits_per_value']:.2f} | {row['attended_bits']:.2f} "
              f"| {kl['value']:.6f} [{kl['low']:.6f}, {kl['high']:.6f}] | {ratio} "
              f"| {100 * row['same_top1']['value']:.2f} % |")
    print(f"\nNats, from each engine's own f16 cache, over the same {rows[0]['tokens']} tokens in {rows[0]['windows']} "
          f"windows; llama.cpp {version}.")
    if floor:
        print(f"llama.cpp's own comparison of f16 with f16: {floor['kl']:.5f} (Cairn's is 0 by construction).")
    for row in rows:
        if row.get("own"):
            own = row["own"]
            print(f"llama.cpp's own figure for {row['type']} over {own['windows']} windows: {own['kl']:.5f}; "
                  f"from its files: {own['ours']:.5f}.")


def main():
    options = parse_arguments()
    tool = peer.Peer(options.peer)
    try:
        version = tool.version("llama-perplexity")
        share = peer.DEFAULT_SHARE if peer.DEFAULT_SHARE.is_dir() else None  # the wrapper sees no other folder
        with tempfile.TemporaryDirectory(dir=share) as folder:
            rows, floor = measure(options, tool, Path(folder))
    except peer.NoPeer as error:
        print(error, file=sys.stderr)
        return peer.EXIT_NO_PEER
    except (peer.PeerError, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    if options.json:
        print(json.dumps({"peer": version, "commit": peer.build_commit(), "model": options.model.name,
                          "text": options.text.name, "context": options.context, "f16_floor": floor, "rows": rows},
                         indent=2))
    else:
        print_table(rows, floor, version)
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Decoding at depth with a quantised KV cache: Cairn's codec, Cairn's f16 and llama.cpp's type, alternating.

All three stay alive with their caches filled once and have their turns: only one computes at a time. llama.cpp's cache
is filled as peer_server.py says.
"""
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import peer
from peer_server import Server

BEST = "best"
PEER_TYPES = ("f16", "q8_0", "q4_0")  # 'best' is the fastest of them
SCOUT_ROUNDS = 3
OWN = "raw_f16"
# (depth, llama.cpp's type as asked): (at least, aim)
TO_PEER = {(16384, "q4_0"): (2.5, 4.0), (32768, BEST): (4.0, 6.0)}
TO_OWN = {(16384, "q4_0"): (1.2, 1.5)}


@dataclass(frozen=True)
class KvFigure:
    depth: int
    codec: str
    peer_type: str

    @classmethod
    def parse(cls, text):
        """DEPTH:CODEC:TYPE. Raises ValueError."""
        depth, codec, peer_type = text.split(":")
        if int(depth) < 1 or not codec:
            raise ValueError(text)
        return cls(int(depth), codec, peer_type)


class PacedCairn:
    """A `cairn bench --paced`: decodes when asked. A context manager that ends it; raises peer.PeerError."""

    def __init__(self, arguments, depth, codec):
        self.errors = tempfile.TemporaryFile("w+", errors="replace")
        command = [arguments.build / "bin/cairn", "bench", "-m", arguments.model, "-t", arguments.threads,
                   "--prefill", 0, "--decode", arguments.decode, "--depths", depth, "--codec", codec, "--paced"]
        self.process = subprocess.Popen([str(word) for word in command], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors)
        self.codec = codec

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate()
        self.errors.close()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            raise peer.PeerError(f"cairn bench with {self.codec} ended: {peer.last_line(self.errors.read())}")
        return json.loads(line)

    def decode(self):
        with contextlib.suppress(BrokenPipeError):  # the answer tells why
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        return self.answer()["tokens_per_s"]


class KvBench:
    def __init__(self, arguments, llama, record):
        self.arguments, self.llama, self.record = arguments, llama, record

    def server(self, figure, kv_type, folder):
        context = -(-(figure.depth + self.arguments.decode + 1) // 256) * 256
        return Server(self.llama, self.arguments.model, self.arguments.threads, kv_type, context, folder)

    def fill(self, server, figure):
        start = time.monotonic()
        server.fill(figure.depth, computed=self.arguments.kv_fill == "computed")
        server.decode(self.arguments.decode)  # warms up
        return time.monotonic() - start

    def scout(self, figure, folder):
        """Median tokens per second of each of llama.cpp's types at this depth."""
        rates = {}
        for kv_type in PEER_TYPES:
            with self.server(figure, kv_type, folder) as server:
                self.fill(server, figure)
                rates[kv_type] = statistics.median(server.decode(self.arguments.decode) for _ in range(SCOUT_ROUNDS))
            print(f"depth {figure.depth}, llama.cpp {kv_type}: {rates[kv_type]:.2f} tokens/s",
                  file=sys.stderr, flush=True)
        return rates

    def measure(self, figure, folder):
        entry = {"depth": figure.depth, "codec": figure.codec, "peer_type": figure.peer_type,
                 "peer_asked": figure.peer_type, "samples": {"codec": [], "own": [], "peer": []}, "fill_s": {}}
        self.record["kv_figures"].append(entry)
        if figure.peer_type == BEST:
            entry["scouted"] = self.scout(figure, folder)
            entry["peer_type"] = max(entry["scouted"], key=entry["scouted"].get)
        with contextlib.ExitStack() as stack:
            turns = {}
            for name, codec in (("codec", figure.codec), ("own", OWN)):
                start = time.monotonic()
                cairn = stack.enter_context(PacedCairn(self.arguments, figure.depth, codec))
                ready = cairn.answer()
                self.record["cairn"] = {key: ready[key] for key in ("version", "commit")}
                entry[f"{name}_bytes_per_token"] = ready["bytes_per_token"]
                entry["fill_s"][name] = time.monotonic() - start
                turns[name] = cairn.decode
            server = stack.enter_context(self.server(figure, entry["peer_type"], folder))
            entry["fill_s"]["peer"] = self.fill(server, figure)
            turns["peer"] = lambda: server.decode(self.arguments.decode)
            for number in range(1, self.arguments.kv_rounds + 1):
                for name, turn in turns.items():
                    entry["samples"][name].append(turn())
                rates = ", ".join(f"{name} {entry['samples'][name][-1]:.2f}" for name in turns)
                print(f"depth {figure.depth}, {figure.codec}, round {number} of {self.arguments.kv_rounds}: {rates}",
                      file=sys.stderr, flush=True)

    def measure_all(self):
        share = peer.DEFAULT_SHARE if peer.DEFAULT_SHARE.is_dir() else None  # the wrapper sees no other folder
        with tempfile.TemporaryDirectory(dir=share) as folder:
            for figure in self.arguments.kv_figures:
                self.measure(figure, Path(folder))


def add_ratios(record):
    """Medians over medians, of the figures that all three have."""
    for entry in record["kv_figures"]:
        if all(entry["samples"].values()):
            codec, own, theirs = (statistics.median(entry["samples"][name]) for name in ("codec", "own", "peer"))
            entry["to_peer"], entry["to_own"] = codec / theirs, codec / own
            key = (entry["depth"], entry["peer_asked"])
            entry["targets"] = {"to_peer": TO_PEER.get(key), "to_own": TO_OWN.get(key)}


def rows(record, spread, verdict):
    """Of a table: the figure, the three rates, both ratios with their targets."""
    yield ["decode, tokens per second", "Cairn", OWN, "llama.cpp", "type", "to llama.cpp", "", "to own f16", ""]
    for entry in record["kv_figures"]:
        if "to_peer" not in entry:
            continue
        row = [f"depth {entry['depth']}, {entry['codec']}", spread(entry["samples"]["codec"]),
               spread(entry["samples"]["own"]), spread(entry["samples"]["peer"]), entry["peer_type"]]
        for key in ("to_peer", "to_own"):
            target = entry["targets"][key]
            judged = f"{verdict(entry[key], target)} ({target[0]}, aim {target[1]})" if target else ""
            row += [f"{entry[key]:.2f}", judged]
        yield row

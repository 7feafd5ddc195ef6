#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures Cairn against its peers on one model file, alternating, same threads, and prints medians and ratios.

The peer of a row is the fastest of all builds and flags that ran: name folders of native builds with --llama and --ik.

Figures: prefill of 512 tokens, decode with an empty cache, and at each depth prefill and decode with f16 KV and decode
with 4-bit KV; the share of the read bandwidth (measured in the same run) that decoding reaches; attention over f16
pages beside a plain read; the memory of a `cairn run` beyond weights and KV. The deep figures fill the cache first,
which takes the peers minutes: they get fewer rounds and several repetitions on one fill instead.

--kv-figures measures decoding with quantised KV instead: Cairn's codec, Cairn's f16 and llama.cpp's KV type in turns,
each with its cache filled once, as kv_figures.py says.

The model must be readable by both; the wrapper shared/peers/llama-cpp.sh maps files under ~/.cache/cairn-peers/share.
Use a quiet machine: anything else that runs makes every figure wrong, ratios included.

Exit status: 0 measured, 2 usage, 3 llama.cpp is missing, 4 a program failed, 130 interrupted (the figures so far are
printed and written).
"""
import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import contenders
import kv_figures
import peer

EXIT_FAILED, EXIT_INTERRUPTED = 4, 130
MIB = 1 << 20
CAIRN = "Cairn"
FOUR_BITS = ("tok4", "q4_0")  # our codec, their type
ATTENTION_DEPTH, ATTENTION_SHARE = 8192, (0.5, 0.8)
MEMORY_LIMIT = 300 * MIB
BUSY_LOAD = 0.5  # processes that wanted to run in the last minute


@dataclass(frozen=True)
class Figure:
    name: str
    prefill: int  # tokens; 0 for a decode figure
    decode: int
    depth: int
    rounds: int
    repeat: int
    codec: str = "raw_f16"
    peer_kv: str = "f16"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default=peer.DEFAULT_SHARE / "l1b-q8.gguf", type=Path,
                        help="GGUF file that both engines can read (default: %(default)s)")
    peer.add_arguments(parser)
    contenders.add_arguments(parser)
    parser.add_argument("--build", default=peer.ROOT / "build/release", type=Path, metavar="DIR",
                        help="where Cairn was built (default: %(default)s)")
    parser.add_argument("-t", "--threads", default=2, type=int, help="of both engines (default: %(default)s)")
    parser.add_argument("--prefill", default=512, type=int, help="tokens of the prefill (default: %(default)s)")
    parser.add_argument("--decode", default=16, type=int, help="tokens of a decode (default: %(default)s)")
    parser.add_argument("--depths", default="8192,16384", help="tokens in the cache before, by comma; '' for none "
                                                               "(default: %(default)s)")
    parser.add_argument("--rounds", default=5, type=int, help="runs of each engine per figure (default: %(default)s)")
    parser.add_argument("--rounds-deep", default=2, type=int,
                        help="the same for figures at depth (default: %(default)s)")
    parser.add_argument("--repeat-deep", default=3, type=int,
                        help="repetitions on one filled cache; a run counts by its median (default: %(default)s)")
    parser.add_argument("--memory-bytes", default=8192, type=int,
                        help="length of the text whose `cairn run` is weighed; 0: not (default: %(default)s)")
    parser.add_argument("--kv-figures", default="", metavar="DEPTH:CODEC:TYPE,...",
                        help="decode with this codec at depth against llama.cpp with this -ctk and -ctv; 'best' is its "
                             f"fastest of {', '.join(kv_figures.PEER_TYPES)}; as 16384:tok4:q4_0,32768:kivi2-g64:best")
    parser.add_argument("--kv-rounds", default=9, type=int,
                        help="turns of each for --kv-figures (default: %(default)s)")
    parser.add_argument("--kv-fill", default="repeated", choices=("repeated", "computed"),
                        help="llama.cpp's cache for --kv-figures: a short prompt's keys and values repeated up to the "
                             "depth, or all computed, which takes it very long (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples, the machine and the commit there")
    arguments = parser.parse_args()
    try:
        arguments.depths = [int(depth) for depth in arguments.depths.split(",") if depth]
    except ValueError:
        parser.error("--depths takes numbers, as 8192,16384")
    try:
        wanted = [text for text in arguments.kv_figures.split(",") if text]
        arguments.kv_figures = [kv_figures.KvFigure.parse(text) for text in wanted]
    except ValueError:
        parser.error("--kv-figures takes DEPTH:CODEC:TYPE, as 16384:tok4:q4_0")
    if min(arguments.rounds, arguments.rounds_deep, arguments.repeat_deep, arguments.decode, arguments.prefill,
           arguments.kv_rounds) < 1:
        parser.error("rounds, repetitions and tokens must be at least 1")
    if not arguments.model.is_file():
        parser.error(f"there is no model '{arguments.model}'; the wrapper's command 'model' makes one")
    for program in ("bin/cairn", "bench/attention_bandwidth"):
        if not (arguments.build / program).is_file():
            parser.error(f"there is no '{arguments.build / program}'; build the preset 'release', or name --build")
    return arguments


def figures(arguments):
    yield Figure(f"prefill {arguments.prefill}", arguments.prefill, 0, 0, arguments.rounds, 1)
    yield Figure("decode, depth 0", 0, arguments.decode, 0, arguments.rounds, 1)
    often = arguments.rounds_deep, arguments.repeat_deep
    for depth in arguments.depths:
        yield Figure(f"prefill {arguments.prefill}, depth {depth}", arguments.prefill, 0, depth, *often)
        yield Figure(f"decode, depth {depth}, f16 KV", 0, arguments.decode, depth, *often)
        yield Figure(f"decode, depth {depth}, {FOUR_BITS[0]} / {FOUR_BITS[1]} KV", 0, arguments.decode, depth, *often,
                     *FOUR_BITS)


def run_json(command):
    """Standard output of a program of ours as JSON, and its largest resident set in bytes."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            why = peer.last_line(errors.read().decode(errors="replace"))
            raise peer.PeerError(f"'{shlex.join(map(str, command))}' failed with status {process.returncode}: {why}")
        return json.loads(output.read()), usage.ru_maxrss * 1024


class Bench:
    def __init__(self, arguments, rivals, record):
        self.arguments, self.rivals, self.record = arguments, rivals, record

    def cairn(self, command, *options):
        return run_json([self.arguments.build / "bin/cairn", command, "-m", self.arguments.model, "-t",
                         self.arguments.threads, "--json", *options])

    def cairn_run(self, figure):
        report, _ = self.cairn("bench", "--prefill", figure.prefill, "--decode", figure.decode,
                               "--depths", figure.depth, "--repeat", figure.repeat, "--codec", figure.codec)
        self.record["cairn"] = {key: report[key] for key in ("version", "commit", "machine", "model")}
        self.record["read_bytes_per_s"].append(report["machine"]["read_bytes_per_s"])
        entry = report["prefill" if figure.prefill else "decode"][0]
        return entry["median"], entry.get("bytes_per_token")

    def measure(self, figure):
        rivals = [rival for rival in self.rivals if rival.measures(figure)]
        entry = {"figure": figure.name, "cairn": [], "peers": {rival.label: [] for rival in rivals},
                 "bytes_per_token": None}
        self.record["figures"].append(entry)
        for number in range(1, figure.rounds + 1):
            for rival in [None, *rivals]:
                start = time.monotonic()
                if rival is None:
                    rate, entry["bytes_per_token"] = self.cairn_run(figure)
                    entry["cairn"].append(rate)
                else:
                    rate = statistics.median(rival.run(figure, self.arguments))
                    entry["peers"][rival.label].append(rate)
                print(f"{figure.name}, round {number} of {figure.rounds}: {rival.label if rival else CAIRN} "
                      f"{rate:.2f} tokens/s ({time.monotonic() - start:.0f} s)", file=sys.stderr, flush=True)

    def measure_attention(self):
        report, _ = run_json([self.arguments.build / "bench/attention_bandwidth",
                              "--codec", "raw_f16", "--depth", ATTENTION_DEPTH,
                              "-t", self.arguments.threads, "--json"])
        self.record["attention"] = {"depth": report["depth"], **report["codecs"][0]}

    def measure_memory(self):
        words = "the quick stone lay on a warm hill while seven grey birds sang of rain "
        text = (words * (self.arguments.memory_bytes // len(words) + 1))[: self.arguments.memory_bytes]
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(text)
            file.flush()
            answer, resident = self.cairn("run", "-f", file.name, "--raw", "-c", self.arguments.memory_bytes + 64,
                                          "-n", 8, "--temp", 0, "--ignore-eos")
        weights = self.record["cairn"]["model"]["weight_bytes"]
        self.record["memory"] = {"prompt_tokens": answer["prompt_tokens"], "resident_peak": resident,
                                 "weights": weights, "kv": answer["kv_bytes"],
                                 "beyond": resident - weights - answer["kv_bytes"]}

    def measure_all(self):
        for figure in figures(self.arguments):
            self.measure(figure)
        self.measure_attention()
        if self.arguments.memory_bytes > 0:
            self.measure_memory()


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def verdict(value, target):
    if target is None:
        return ""
    return "aim reached" if value >= target[1] else "reached" if value >= target[0] else "missed"


def add_ratios(record):
    """Of the figures that Cairn and a peer have: the best peer, and medians over medians."""
    for figure in record["figures"]:
        figure["best"] = contenders.best(figure["peers"])
        if not figure["cairn"] or figure["best"] is None:
            continue
        median = statistics.median(figure["cairn"])
        figure["ratio"] = median / statistics.median(figure["peers"][figure["best"]])
        if figure["bytes_per_token"] is not None:
            bandwidth = statistics.median(record["read_bytes_per_s"])
            figure["read_share"] = figure["bytes_per_token"] * median / bandwidth


def print_rows(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        print("  ".join(cells).rstrip())


def print_figures(record):
    rows = [["tokens per second", "Cairn", "best peer", "ratio", "MiB/token", "of read", "which"]]
    others = []
    for figure in record["figures"]:
        if "ratio" not in figure:
            continue
        row = [figure["figure"], spread(figure["cairn"]), spread(figure["peers"][figure["best"]]),
               f"{figure['ratio']:.2f}"]
        if "read_share" in figure:
            row += [f"{figure['bytes_per_token'] / MIB:.0f}", f"{100 * figure['read_share']:.0f} %"]
        else:
            row += ["", ""]
        rows.append([*row, figure["best"]])
        others += [f"  {figure['figure']}: {label} {spread(values)}" for label, values in figure["peers"].items()
                   if values and label != figure["best"]]
    if len(rows) == 1:
        return
    cairn = record["cairn"]
    machine = cairn["machine"]
    bandwidth = statistics.median(record["read_bytes_per_s"])
    print(f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores, {machine['isa']}, "
          f"reads {bandwidth / 1e9:.1f} GB/s\n"
          f"Cairn {cairn['version']} ({cairn['commit']}), alternating on {record['model']} with "
          + "; ".join(f"{label}: {version}" for label, version in record["peers"].items()) + "\n")
    print_rows(rows)
    if others:
        print("\nthe others", *others, sep="\n")
    print(f"\nMedians (min-max) over rounds: {record['rounds']}; at depth {record['rounds_deep']}, each the median of "
          f"{record['repeat_deep']} repetitions on one filled cache (of ik_llama.cpp one).\n"
          "Of read: weights and KV bytes of one token times tokens per second, over the read bandwidth.")


def print_attention(attention):
    print(f"\nattention over f16 pages at depth {attention['depth']}: "
          f"{attention['attention_bytes_per_s']['median'] / 1e9:.1f} GB/s, {100 * attention['share']:.0f} % of "
          f"{attention['read_bytes_per_s']['median'] / 1e9:.1f} GB/s read (at least {100 * ATTENTION_SHARE[0]:.0f} %, "
          f"aim {100 * ATTENTION_SHARE[1]:.0f} %): {verdict(attention['share'], ATTENTION_SHARE)}")


def print_memory(memory):
    print(f"resident memory with {memory['prompt_tokens']} prompt tokens: {memory['resident_peak'] / MIB:.0f} MiB = "
          f"{memory['weights'] / MIB:.0f} weights + {memory['kv'] / MIB:.0f} KV + {memory['beyond'] / MIB:.0f} beyond "
          f"(limit {MEMORY_LIMIT // MIB}): {'reached' if memory['beyond'] <= MEMORY_LIMIT else 'missed'}")


def print_kv_figures(record):
    rows = list(kv_figures.rows(record, spread, verdict))
    if len(rows) > 1:
        print(f"{record['host']}, {record['threads']} threads; Cairn {record['cairn']['version']} "
              f"({record['cairn']['commit']}), llama.cpp {record['peer_version']}, in turns on {record['model']}\n")
        print_rows(rows)
        print(f"\nMedians (min-max) of {record['kv_rounds']} rounds of {record['decode']} tokens.")


def print_report(record):
    print_figures(record)
    print_kv_figures(record)
    if "attention" in record:
        print_attention(record["attention"])
    if "memory" in record:
        print_memory(record["memory"])
    if record["busy"]:
        print(f"BUSY: the load average was {record['load_average']:.1f} at the start; this is no measurement.")


def main():
    arguments = parse_arguments()
    record = {"commit": peer.build_commit(), "host": platform.platform(),
              "started": time.strftime("%FT%TZ", time.gmtime()), "model": arguments.model.name,
              "threads": arguments.threads, "rounds": arguments.rounds,
              "rounds_deep": arguments.rounds_deep, "repeat_deep": arguments.repeat_deep,
              "decode": arguments.decode, "kv_rounds": arguments.kv_rounds, "kv_fill": arguments.kv_fill,
              "kv_figures": [],
              "load_average": os.getloadavg()[0], "read_bytes_per_s": [], "figures": []}
    record["busy"] = record["load_average"] > BUSY_LOAD
    if record["busy"]:
        print(f"compare_peer.py: the load average is {record['load_average']:.1f}: other programs will spoil the "
              "figures", file=sys.stderr)
    status = 0
    try:
        rivals = contenders.contenders(arguments)
        record["peers"] = {rival.label: rival.version(arguments) for rival in rivals}
        if arguments.kv_figures:
            if not isinstance(rivals[0], contenders.Llama):
                raise peer.NoPeer("--kv-figures takes llama.cpp's server: name its build with --llama or --peer")
            record["peer_version"] = rivals[0].version(arguments)
            kv_figures.KvBench(arguments, rivals[0].tools, record).measure_all()
        else:
            Bench(arguments, rivals, record).measure_all()
    except peer.NoPeer as error:
        print(f"compare_peer.py: {error}", file=sys.stderr)
        return peer.EXIT_NO_PEER
    except peer.PeerError as error:
        print(f"compare_peer.py: {error}", file=sys.stderr)
        status = EXIT_FAILED
    except KeyboardInterrupt:
        print("compare_peer.py: interrupted; what follows is what was measured before", file=sys.stderr)
        status = EXIT_INTERRUPTED
    add_ratios(record)
    kv_figures.add_ratios(record)
    print_report(record)
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds `cairn plan --measure` against `cairn bench` on one model file.

Each round first plans (short runs give the machine's rates: prefills of 128 tokens at depths 0 and 1024, a decode of 8)
and then measures what was predicted: a decode at each depth, and a prefill. Figures are medians over rounds; a ratio is
the predicted speed over the measured one.

Use a quiet machine: anything else that runs makes every figure wrong, ratios included. How far the read bandwidth moved
between the runs is printed with the figures; a machine that gives half of it to others cannot be predicted.

Exit status: 0 every ratio is within the tolerance, 1 one is not, 2 usage, 4 a program failed.
"""
import argparse
import json
import os
import statistics
import sys
from pathlib import Path

import compare_peer
import peer

EXIT_MISSED, EXIT_FAILED = 1, 4


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default=peer.DEFAULT_SHARE / "l1b-q8.gguf", type=Path,
                        help="GGUF file (default: %(default)s)")
    parser.add_argument("--build", default=peer.ROOT / "build/release", type=Path, metavar="DIR",
                        help="where Cairn was built (default: %(default)s)")
    parser.add_argument("-t", "--threads", default=0, type=int, help="0 is one per core (default: %(default)s)")
    parser.add_argument("--prefill", default=512, type=int, help="tokens of the prefill (default: %(default)s)")
    parser.add_argument("--decode", default=32, type=int, help="tokens of a decode (default: %(default)s)")
    parser.add_argument("--depths", default="512,2048", help="tokens in the cache before a decode, by comma "
                                                             "(default: %(default)s)")
    parser.add_argument("--rounds", default=5, type=int, help="of planning and measuring (default: %(default)s)")
    parser.add_argument("--tolerance", default=0.25, type=float, help="of a ratio (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    arguments = parser.parse_args()
    try:
        arguments.depths = [int(depth) for depth in arguments.depths.split(",")]
    except ValueError:
        parser.error("--depths takes numbers, as 512,2048")
    if min(arguments.rounds, arguments.prefill, arguments.decode, *arguments.depths) < 1:
        parser.error("rounds, tokens and depths must be at least 1")
    if not arguments.model.is_file():
        parser.error(f"there is no model '{arguments.model}'")
    if not (arguments.build / "bin/cairn").is_file():
        parser.error(f"there is no '{arguments.build / 'bin/cairn'}'; build the preset 'release', or name --build")
    return arguments


class Check:
    def __init__(self, arguments):
        self.arguments = arguments
        self.record = {"model": str(arguments.model), "plans": [], "benches": [], "figures": []}

    def cairn(self, command, *options):
        report, _ = compare_peer.run_json([self.arguments.build / "bin/cairn", command, "-m", self.arguments.model,
                                           "-t", self.arguments.threads, "--json", *options])
        return report

    def sample(self, name, predicted, measured):
        figures = self.record["figures"]
        figure = next((entry for entry in figures if entry["figure"] == name), None)
        if figure is None:
            figure = {"figure": name, "predicted": [], "measured": []}
            figures.append(figure)
        figure["predicted"].append(predicted)
        figure["measured"].append(measured)
        print(f"{name}: predicted {predicted:.2f}, measured {measured:.2f} tokens/s", file=sys.stderr, flush=True)

    def planned(self, hardware, context):
        """The arithmetic again for another context, with the rates that were measured."""
        return self.cairn("plan", "--context", context, "--answer", self.arguments.decode,
                          "--memory", hardware["memory_bytes"], "--flops", hardware["flops"],
                          "--attention-flops", hardware["attention_flops"],
                          "--bandwidth", hardware["bandwidth_bytes_per_s"],
                          "--swap-bandwidth", hardware["swap_bytes_per_s"])["plan"]

    def round(self):
        arguments = self.arguments
        report = self.cairn("plan", "--measure", "--context", arguments.prefill)
        self.record["plans"].append(report)
        bench = self.cairn("bench", "--prefill", 0, "--decode", arguments.decode,
                           "--depths", ",".join(map(str, arguments.depths)))
        self.record["benches"].append(bench)
        for depth, entry in zip(arguments.depths, bench["decode"]):
            plan = self.planned(report["hardware"], depth)
            self.sample(f"decode {arguments.decode} at depth {depth}", arguments.decode / plan["decode"]["seconds"],
                        entry["median"])
        bench = self.cairn("bench", "--prefill", arguments.prefill, "--decode", 0, "--depths", 0)
        self.record["benches"].append(bench)
        self.sample(f"prefill {arguments.prefill}", arguments.prefill / report["plan"]["prefill"]["seconds"],
                    bench["prefill"][0]["median"])

    def finish(self):
        """Prints the table; whether every ratio is within the tolerance."""
        rows, good = [["tokens per second", "predicted", "measured", "ratio", "of single rounds", ""]], True
        for figure in self.record["figures"]:
            predicted, measured = (statistics.median(figure[key]) for key in ("predicted", "measured"))
            figure["ratio"] = predicted / measured
            single = sorted(p / m for p, m in zip(figure["predicted"], figure["measured"]))
            within = abs(figure["ratio"] - 1) <= self.arguments.tolerance
            good &= within
            rows.append([figure["figure"], f"{predicted:.2f}", f"{measured:.2f}", f"{figure['ratio']:.2f}",
                         f"{single[0]:.2f}-{single[-1]:.2f}", "" if within else "missed"])
        bench = self.record["benches"][-1]
        reads = [report["hardware"]["read_bytes_per_s"] / 1e9 for report in self.record["plans"]]
        reads += [report["machine"]["read_bytes_per_s"] / 1e9 for report in self.record["benches"]]
        machine = bench["machine"]
        print(f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores, {machine['isa']}; "
              f"cairn {bench['version']} ({bench['commit']}); {self.record['model']}\n"
              f"medians of {len(self.record['plans'])} rounds, load average {self.record['load_average']:.1f} at the start, "
              f"memory read at {min(reads):.1f} to {max(reads):.1f} GB/s; "
              f"within {100 * self.arguments.tolerance:.0f} % is wanted\n")
        compare_peer.print_rows(rows)
        if max(reads) > (1 + self.arguments.tolerance) * min(reads):
            print("UNSTEADY: the read bandwidth moved by more than the tolerance; this is no measurement.")
        return good


def main():
    check = Check(parse_arguments())
    check.record["load_average"] = os.getloadavg()[0]
    try:
        for _ in range(check.arguments.rounds):
            check.round()
    except (peer.PeerError, OSError, json.JSONDecodeError) as error:
        print(f"plan_check.py: {error}", file=sys.stderr)
        return EXIT_FAILED
    good = check.finish()
    if check.arguments.json:
        check.arguments.json.write_text(json.dumps(check.record, indent=2) + "\n")
    return 0 if good else EXIT_MISSED


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares Cairn's next-token distributions with llama.cpp's on one model in every tensor type, as a Markdown table.

For each type the model is converted by llama-quantize, llama-perplexity writes its distributions over windows of a
text, and bench/compare_logits computes the same windows with Cairn from the same file. Both engines hold the same
weights, so differences come from arithmetic alone: the rounding of activations, the KV cache, the order of sums. To
tell whose they are, each type is also expanded to F32, where activations are not rounded: the last columns are the
distances of both engines from that.

Exit status: 0 all within the limits, 1 a type is outside, 2 usage, 3 llama.cpp is missing, 4 a tool failed.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import peer

EXIT_OUTSIDE, EXIT_FAILED = 1, 4


@dataclass(frozen=True)
class Limits:
    top1: float  # at least
    mean_kl: float  # at most, in nats


FLOATS = Limits(top1=0.99, mean_kl=1e-3)
ROUNDED_ACTIVATIONS = Limits(top1=0.97, mean_kl=5e-3)
TYPES = {
    "F32": FLOATS,
    "F16": FLOATS,
    "BF16": FLOATS,
    "Q8_0": ROUNDED_ACTIVATIONS,
    "Q4_0": ROUNDED_ACTIVATIONS,
    "Q4_1": ROUNDED_ACTIVATIONS,
    "Q5_0": ROUNDED_ACTIVATIONS,
    "Q5_1": ROUNDED_ACTIVATIONS,
    "Q2_K": ROUNDED_ACTIVATIONS,
    "Q3_K": ROUNDED_ACTIVATIONS,
    "Q4_K": ROUNDED_ACTIVATIONS,
    "Q5_K": ROUNDED_ACTIVATIONS,
    "Q6_K": ROUNDED_ACTIVATIONS,
    "IQ4_NL": ROUNDED_ACTIVATIONS,
    "IQ4_XS": ROUNDED_ACTIVATIONS,
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default=peer.ROOT / "models/cairn-tiny-f16.gguf", type=Path,
                        help="a model in F16 or F32 (default: the demo model)")
    parser.add_argument("--text", default=peer.ROOT.parent / "shared/data/text/wikitext2_valid.txt", type=Path,
                        help="the text to predict (default: the validation text of wikitext-2)")
    parser.add_argument("--types", default=",".join(TYPES), help="tensor types, by comma (default: %(default)s)")
    parser.add_argument("--k-fallback", default="ffn_down=q8_0", metavar="TENSOR=TYPE",
                        help="for K-quants, tensors whose width is no multiple of 256 and the type they get "
                             "instead, as the demo model's ffn_down; '' for none (default: %(default)s)")
    parser.add_argument("--window", default=512, type=int, help="tokens; the second half is compared (default: 512)")
    parser.add_argument("--windows", default=8, type=int, help="how many windows of the text (default: 8)")
    parser.add_argument("-t", "--threads", default=2, type=int, help="of both engines (default: 2)")
    parser.add_argument("--binary", default=peer.ROOT / "build/release/bench/compare_logits", type=Path,
                        help="the comparison program (default: that of the release build)")
    peer.add_arguments(parser)
    parser.add_argument("--share", default=peer.DEFAULT_SHARE, type=Path,
                        help="a folder that both engines can read and write (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all results there")
    arguments = parser.parse_args()
    arguments.types = arguments.types.split(",")
    for name in arguments.types:
        if name not in TYPES:
            parser.error(f"unknown type '{name}'; there are {', '.join(TYPES)}")
    if arguments.window < 4 or arguments.windows < 1:
        parser.error("--window must be at least 4 and --windows at least 1")
    for file in (arguments.model, arguments.text, arguments.binary):
        if not file.is_file():
            hint = "; build the preset 'release'" if file == arguments.binary else ""
            parser.error(f"there is no file '{file}'{hint}")
    return arguments


class Comparer:
    def __init__(self, arguments, llama, folder):
        self.arguments, self.llama, self.folder = arguments, llama, folder

    def quantise(self, name):
        """The model in one type, and the same values in F32."""
        model, expanded = self.folder / "model.gguf", self.folder / "expanded.gguf"
        options = ["--pure"]
        if name.endswith(("_K", "_XS")) and self.arguments.k_fallback:
            options += ["--tensor-type", self.arguments.k_fallback]
        self.llama.run("llama-quantize", *options, self.folder / "source.gguf", model, name)
        self.llama.run("llama-quantize", "--allow-requantize", model, expanded, "F32")
        return model, expanded

    def peer_logits(self, model):
        logits = model.with_suffix(".logits")
        self.llama.run("llama-perplexity", "-m", model, "-f", self.folder / "text.txt", "-c", self.arguments.window,
                       "--chunks", self.arguments.windows, "-t", self.arguments.threads, "--kl-divergence-base", logits)
        return logits

    def distance(self, model, logits):
        """Of Cairn on `model` from what llama.cpp wrote."""
        command = [self.arguments.binary, "-m", model, logits, "-t", str(self.arguments.threads), "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise peer.PeerError(peer.last_line(done.stderr))
        result = json.loads(done.stdout)
        del result["model"]
        return result

    def compare(self, name):
        model, expanded = self.quantise(name)
        logits, exact_logits = self.peer_logits(model), self.peer_logits(expanded)
        return {"between": self.distance(model, logits), "cairn_from_exact": self.distance(model, exact_logits),
                "peer_from_exact": self.distance(expanded, logits)}


def within(name, result):
    limits = TYPES[name]
    return result["top1_agreement"] >= limits.top1 and result["kl"]["mean"] <= limits.mean_kl


def print_table(results):
    print("| type | mean KL | median | 99 % | largest | same top token | perplexity Cairn | llama.cpp "
          "| Cairn from exact | llama.cpp from exact | |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, result in results.items():
        between = result["between"]
        kl, perplexity = between["kl"], between["perplexity"]
        print(f"| {name} | {kl['mean']:.1e} | {kl['median']:.1e} | {kl['p99']:.1e} | {kl['max']:.1e} "
              f"| {100 * between['top1_agreement']:.2f} % | {perplexity['cairn']:.3f} | {perplexity['peer']:.3f} "
              f"| {result['cairn_from_exact']['kl']['mean']:.1e} | {result['peer_from_exact']['kl']['mean']:.1e} "
              f"| {'' if within(name, between) else 'outside the limits'} |")
    positions = next(iter(results.values()))["between"]["positions"]
    print(f"\nKL(llama.cpp || Cairn) in nats over {positions} positions; below 1e-6 it is the rounding of llama.cpp's\n"
          "file. Perplexity over the positions whose token that file resolves. From exact: mean KL to the same\n"
          "weights expanded to F32.")


def main():
    arguments = parse_arguments()
    llama = peer.Peer(arguments.peer)
    results = {}
    try:
        version = llama.version("llama-perplexity")
        with tempfile.TemporaryDirectory(dir=arguments.share if arguments.share.is_dir() else None) as scratch:
            folder = Path(scratch)
            folder.chmod(0o755)
            (folder / "source.gguf").write_bytes(arguments.model.read_bytes())
            # Text is plentiful; a token is rarely longer than 16 bytes.
            (folder / "text.txt").write_bytes(arguments.text.read_bytes()[: 16 * arguments.window * arguments.windows])
            comparer = Comparer(arguments, llama, folder)
            for name in arguments.types:
                print(f"{name} ...", file=sys.stderr, flush=True)
                results[name] = comparer.compare(name)
    except peer.NoPeer as error:
        print(f"compare_logits.py: {error}", file=sys.stderr)
        return peer.EXIT_NO_PEER
    except peer.PeerError as error:
        print(f"compare_logits.py: {error}", file=sys.stderr)
        return EXIT_FAILED
    print_table(results)
    if arguments.json:
        record = {"commit": peer.build_commit(), "peer": version, "model": arguments.model.name,
                  "text": arguments.text.name, "window": arguments.window, "results": results}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if all(within(name, result["between"]) for name, result in results.items()) else EXIT_OUTSIDE


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Perplexity of models on the same windows, by `cairn eval ppl` and by llama.cpp, as a Markdown table.

Both cut the text into windows of --context tokens and predict the second half of each. llama.cpp keeps keys and values
in F16, as Cairn does by default.

Exit status: 0 all within --within, 1 a model is outside, 2 usage, 3 llama.cpp is missing, 4 a tool failed.
"""
import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import peer

EXIT_OUTSIDE, EXIT_FAILED = 1, 4


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, default=[peer.ROOT / "models/cairn-tiny-f16.gguf"],
                        help="GGUF files (default: the demo model)")
    parser.add_argument("--text", default=peer.ROOT.parent / "shared/data/text/wikitext2_valid.txt", type=Path,
                        help="the text to predict (default: the validation text of wikitext-2)")
    parser.add_argument("--context", default=512, type=int, help="tokens of a window (default: 512)")
    parser.add_argument("--windows", default=0, type=int, help="at most so many; 0: all (default: 0)")
    parser.add_argument("--within", default=0.003, type=float, help="allowed relative difference (default: 0.003)")
    parser.add_argument("-t", "--threads", default=2, type=int, help="of both engines (default: 2)")
    parser.add_argument("--binary", default=peer.ROOT / "build/release/bin/cairn", type=Path,
                        help="the program (default: that of the release build)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    peer.add_arguments(parser)
    return parser.parse_args()


def cairn_row(options, model):
    command = [options.binary, "eval", "ppl", "-m", model, options.text, "--contexts", str(options.context), "--windows",
               str(options.windows), "-t", str(options.threads), "--json"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise peer.PeerError(peer.last_line(done.stderr) or f"cairn failed with status {done.returncode}")
    return json.loads(done.stdout)["rows"][0]


def peer_perplexity(options, tool, model, text, windows):
    """The last of the running figures. The tool loses the end of what it writes into a pipe, so it gets a file."""
    arguments = ["-m", model, "-f", text, "-c", options.context, "-b", options.context, "-t", options.threads]
    if options.windows:
        arguments += ["--chunks", options.windows]
    command = tool.command("llama-perplexity", *arguments)
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.DEVNULL)
        output.seek(0)
        found = dict(re.findall(r"\[(\d+)\]([0-9.]+),", output.read()))
    if done.returncode != 0 or str(windows) not in found:
        raise peer.PeerError(f"llama-perplexity gave no figure for {windows} windows of {model.name}")
    return float(found[str(windows)])


def main():
    options = parse_arguments()
    tool = peer.Peer(options.peer)
    rows = []
    try:
        version = tool.version("llama-perplexity")
        share = peer.DEFAULT_SHARE if options.peer == peer.DEFAULT_PREFIX else None
        with tempfile.TemporaryDirectory(dir=share) as folder:
            text = Path(shutil.copy(options.text, folder))
            for model in options.models:
                ours = cairn_row(options, model)
                theirs = peer_perplexity(options, tool, Path(shutil.copy(model, folder)), text, ours["windows"])
                rows.append({"model": model.name, "windows": ours["windows"], "tokens": ours["tokens"],
                             "cairn": ours["perplexity"]["value"], "llama.cpp": theirs,
                             "ratio": ours["perplexity"]["value"] / theirs})
    except peer.NoPeer as error:
        print(error, file=sys.stderr)
        return peer.EXIT_NO_PEER
    except (peer.PeerError, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    if options.json:
        print(json.dumps({"peer": version, "commit": peer.build_commit(), "rows": rows}, indent=2))
    else:
        print("| model | windows | tokens | Cairn | llama.cpp | ratio |\n|---|--:|--:|--:|--:|--:|")
        for row in rows:
            print(f"| {row['model']} | {row['windows']} | {row['tokens']} | {row['cairn']:.4f} | {row['llama.cpp']:.4f} | "
                  f"{row['ratio']:.5f} |")
    return EXIT_OUTSIDE if any(abs(row["ratio"] - 1) > options.within for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

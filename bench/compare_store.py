#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a store costs and what it gives.

Figures: time to first token of a long prompt cold, from a folder and from a Redis server on this machine, runs of
`cairn run` in turns; prefill and decoding with a store that never helps (every prompt is new) beside the same without
one, in turns within one process; reading a folder back, every byte verified, beside fio on the same files.

Exit status: 0 measured, 2 usage, 3 something to measure with is missing, 4 a program failed.
"""
import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import peer

EXIT_MISSING, EXIT_FAILED = 3, 4
# What the project wants: (at least, aim).
TTFT = {"folder": (8, 15), "redis": (6, 12)}
SLOWDOWN = (0.02, 0.005)
DISK = (0.8, 0.95)
FIO_SHAPES = (("1m", 8), ("256k", 32))


class Failed(Exception):
    pass


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default=peer.DEFAULT_SHARE / "l1b-q8.gguf", type=Path)
    parser.add_argument("--build", default=Path("build/release"), type=Path)
    parser.add_argument("--text", required=True, type=Path, help="a long text; prompts are pieces of it")
    parser.add_argument("-t", "--threads", default=2, type=int)
    parser.add_argument("--long", default=8200, type=int, help="bytes of the long prompt (default: %(default)s)")
    parser.add_argument("--short", default=1088, type=int, help="tokens of a new prompt (default: %(default)s)")
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--figures", default="ttft,idle,disk", help="of these (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if not arguments.model.is_file():
        parser.error(f"there is no model '{arguments.model}'")
    return arguments


class Runs:
    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, Path(folder)
        self.text = arguments.text.read_bytes()
        self.offset = 0

    def piece(self, size):
        """A prompt that no earlier one begins like."""
        self.offset += size + 17
        if self.offset + size > len(self.text):
            raise Failed(f"the text is too short for so many new prompts: {len(self.text)} bytes")
        return self.text[self.offset:self.offset + size]

    def run(self, prompt, tokens, *more):
        path = self.folder / "prompt.txt"
        path.write_bytes(prompt)
        command = [self.arguments.build / "bin/cairn", "run", "-m", self.arguments.model, "-f", path, "--raw", "-n", tokens,
                   "--temp", 0, "--ignore-eos", "--json", "-t", self.arguments.threads, *more]
        done = subprocess.run([str(word) for word in command], capture_output=True)
        if done.returncode != 0:
            raise Failed(done.stderr.decode(errors="replace").strip())
        return json.loads(done.stdout)


def say(text):
    print(text, file=sys.stderr, flush=True)


def time_to_first_token(runs, record):
    prompt = runs.piece(runs.arguments.long)
    stores = {"folder": str(runs.folder / "ttft")}
    server = None
    if shutil.which("redis-server"):
        socket = runs.folder / "redis.sock"
        server = subprocess.Popen(["redis-server", "--port", "6399", "--unixsocket", str(socket), "--save", "",
                                   "--appendonly", "no", "--dir", str(runs.folder)], stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        stores["redis"] = "redis://127.0.0.1:6399"
    try:
        cold = [runs.run(prompt, 2)]
        for store in stores.values():
            runs.run(prompt, 2, "--store", store)
        samples = {name: [] for name in stores}
        for _ in range(runs.arguments.rounds):
            for name, store in stores.items():
                samples[name].append(runs.run(prompt, 2, "--store", store))
        cold.append(runs.run(prompt, 2))
    finally:
        if server is not None:
            server.terminate()
            server.wait()
    cold_s = statistics.median(run["first_token_s"] for run in cold)
    for name, warm in samples.items():
        if any(run["ids"] != cold[0]["ids"] or run["reused_tokens"] == 0 for run in warm):
            raise Failed(f"the prefix from {name} was not used, or changed the answer")
        warm_s = statistics.median(run["first_token_s"] for run in warm)
        record[f"ttft_{name}"] = {"tokens": warm[0]["prompt_tokens"], "cold_s": cold_s, "warm_s": warm_s,
                                  "ratio": cold_s / warm_s, "wanted": TTFT[name]}
        say(f"time to first token, {warm[0]['prompt_tokens']} tokens: cold {cold_s:.2f} s, {name} {warm_s:.3f} s, "
            f"{cold_s / warm_s:.0f} x")


def nothing_reused(runs, record):
    """In one process: between whole runs a machine's speed drifts by more than what is looked for."""
    arguments = runs.arguments
    command = [arguments.build / "bench/store_idle", "-m", arguments.model, "--text", arguments.text,
               "--store", runs.folder / "idle", "-t", arguments.threads, "--prompt", arguments.short, "--rounds",
               4 * arguments.rounds]
    figures = json.loads(subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE).stdout)
    for figure in ("prefill", "decode"):
        off, on, slowdown = (figures[figure][name] for name in ("tokens_per_s_off", "tokens_per_s_on", "slowdown"))
        figures[figure]["wanted"] = SLOWDOWN
        say(f"{figure}, nothing reused: {off:.2f} tokens/s without a store, {on:.2f} with one, median of "
            f"{figures[figure]['pairs']} pairs {100 * slowdown['median']:+.2f} % ({100 * slowdown['from']:+.2f} to "
            f"{100 * slowdown['to']:+.2f})")
    record["nothing_reused"] = figures


def disk(runs, record):
    if not shutil.which("fio"):
        raise Failed("fio is not installed")
    bench, folder = runs.arguments.build / "bench/store_tiers", runs.folder / "disk"
    subprocess.run([bench, "fill", "--folder", folder, "--total", "1GiB"], check=True, stdout=subprocess.DEVNULL)
    files = ":".join(str(path) for path in sorted((folder / "segments").iterdir()))
    samples = []
    for _ in range(runs.arguments.rounds):
        ours = json.loads(subprocess.run([bench, "disk", "--folder", folder, "--rounds", "1"], check=True,
                                         capture_output=True).stdout)["tier_bytes_per_s"]
        theirs = {}
        for size, depth in FIO_SHAPES:
            out = subprocess.run(["fio", "--name=read", f"--filename={files}", "--rw=randread", f"--bs={size}",
                                  f"--iodepth={depth}", "--ioengine=io_uring", "--direct=1", "--readonly", "--time_based",
                                  "--runtime=2", "--output-format=json"], check=True, capture_output=True).stdout
            theirs[f"{size} x {depth}"] = json.loads(out)["jobs"][0]["read"]["bw_bytes"]
        samples.append((ours, theirs))
    best = max(samples[0][1], key=lambda shape: statistics.median(theirs[shape] for _, theirs in samples))
    ours = statistics.median(ours for ours, _ in samples)
    theirs = statistics.median(theirs[best] for _, theirs in samples)
    record["disk"] = {"tier_bytes_per_s": ours, "fio_bytes_per_s": theirs, "fio": best, "wanted": DISK,
                      "ratio": statistics.median(ours / theirs[best] for ours, theirs in samples)}
    say(f"folder, verified: {ours / 1e9:.2f} GB/s, fio {best}: {theirs / 1e9:.2f} GB/s, median ratio "
        f"{record['disk']['ratio']:.2f}")


def main():
    arguments = parse_arguments()
    record = {"model": arguments.model.name, "started": time.strftime("%FT%TZ", time.gmtime())}
    figures = {"ttft": time_to_first_token, "idle": nothing_reused, "disk": disk}
    try:
        with tempfile.TemporaryDirectory(prefix="cairn-store-") as folder:
            runs = Runs(arguments, folder)
            for name in arguments.figures.split(","):
                figures[name](runs, record)
    except KeyError as error:
        print(f"compare_store.py: no figure {error}", file=sys.stderr)
        return 2
    except (Failed, subprocess.CalledProcessError) as error:
        print(f"compare_store.py: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(json.dumps(record, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

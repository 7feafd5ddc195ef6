#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cairn serve` beside llama-server: the same requests of `cairn load`, in turns, medians over rounds.

Figures: throughput with and without a shared document, time to the first token of a second question and of one after a
restart, time between tokens while a long prompt is read, and the memory of many sequences in a 4-bit codec beside f16.
llama-server has one unified KV cache for all slots, flash attention, its prompt cache and reuse of shifted chunks.

Exit status: 0 measured, 2 usage, 3 llama.cpp is missing, 4 a program failed.
"""
import argparse
import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import peer

EXIT_FAILED = 4
START_TIMEOUT_S = 600
KV_BYTES = 8 << 30
REQUEST_S = 1800  # sixteen long prompts at once take their time
MEMORY_CODEC = "tok4"


class Server:
    """One server on a free port, in a folder of its own, that can be started anew."""

    def __init__(self, name, command_for, folder):
        self.name, self.command_for, self.folder = name, command_for, Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.process = None

    def start(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(list(map(str, self.command_for(port, self.folder))), stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                urllib.request.urlopen(self.url + "/health", timeout=5).read()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise peer.PeerError(f"{self.name} did not start: " +
                             peer.last_line((self.folder / "log").read_text(errors="replace")))

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        self.log.close()

    def state(self):
        return json.load(urllib.request.urlopen(self.url + "/api/state", timeout=30))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default=peer.DEFAULT_SHARE / "l1b-q8.gguf", type=Path)
    parser.add_argument("--build", default=Path("build/release"), type=Path)
    parser.add_argument("-t", "--threads", default=2, type=int)
    parser.add_argument("--rounds", default=3, type=int, help="of every figure (default: %(default)s)")
    parser.add_argument("--figures", default="shared,separate,second,restart,interference,memory",
                        help="of these (default: all)")
    parser.add_argument("--long-tokens", default=8192, type=int, help="of the long document and prompt")
    parser.add_argument("--memory-tokens", default=4096, type=int, help="of each sequence of the memory figure")
    parser.add_argument("--memory-sequences", default=16, type=int, help="of the memory figure (default: %(default)s)")
    parser.add_argument("--json", action="store_true")
    peer.add_arguments(parser)
    arguments = parser.parse_args()
    for name in ("rounds", "memory_sequences"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return arguments


def values_of(server, metric):
    """Of each round."""
    values = [one[metric] for one in server["rounds"]]
    if None in values:
        raise peer.PeerError(f"{server['name']} has no {metric} in some round: {values}")
    return values


def figure_of(metric, rounds):
    """The medians of what `rounds` has of every server, and all of it."""
    return {"metric": metric, **{name: statistics.median(values) for name, values in rounds.items()}, "rounds": rounds,
            "by_round": [one / other for one, other in zip(rounds["cairn"], rounds[other_of(rounds)])]}


def other_of(named):
    return "llama-server" if "llama-server" in named else "f16"


class Comparison:
    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, Path(folder)
        self.cairn = arguments.build / "bin/cairn"
        self.llama = peer.Peer(arguments.peer)

    def cairn_command(self, *more, parallel=16):
        a = self.arguments
        return lambda port, folder: [self.cairn, "serve", a.model, "--port", port, "-t", a.threads, "--kv-budget", KV_BYTES,
                                     "--parallel", parallel, "--request-timeout", REQUEST_S, *more]

    def stored_command(self, port, folder):
        return [*self.cairn_command()(port, folder), "--store", folder / "store"]

    def llama_command(self, port, folder):
        a = self.arguments
        return self.llama.command("llama-server", "-m", a.model, "-t", a.threads, "-tb", a.threads, "-c", 32768, "-np", 8,
                                  "--kv-unified", "-fa", "on", "--cache-reuse", 64, "--host", "127.0.0.1", "--port", port)

    def load(self, servers, workload, rounds=None, **options):
        command = [self.cairn, "load", "--workload", workload, "--rounds", rounds or self.arguments.rounds, "--ignore-eos", "--json",
                   "--timeout", REQUEST_S, "--api", "completions"]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}"] + ([] if value is True else [value])
        for server in servers:
            command += ["--url", f"{server.name}={server.url}"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode != 0:
            raise peer.PeerError(f"cairn load: {peer.last_line(done.stderr)}")
        report = json.loads(done.stdout)
        for server in report["servers"]:
            errors = [one["errors"] for one in server["rounds"] if one["errors"]]
            if errors:
                raise peer.PeerError(f"{server['name']} failed requests: {errors}")
        return {server["name"]: server for server in report["servers"]}

    def compared(self, metric, workload, **options):
        servers = [Server("cairn", self.cairn_command(), self.folder / "cairn"),
                   Server("llama-server", self.llama_command, self.folder / "llama")]
        try:
            for server in servers:
                server.start()
            found = self.load(servers, workload, **options)
        finally:
            for server in servers:
                server.stop()
        return figure_of(metric, {name: values_of(one, metric) for name, one in found.items()})

    def shared(self):
        return self.compared("output_tokens_per_s", "document", clients=8, document_tokens=1024, max_tokens=64)

    def separate(self):
        return self.compared("output_tokens_per_s", "separate", clients=8, document_tokens=256, max_tokens=64)

    def second(self):
        return self.compared("ttft_p50_ms", "document", clients=1, document_tokens=self.arguments.long_tokens, max_tokens=4,
                             warm=True)

    def restart(self):
        """The same question cold, and after a restart; llama-server starts without a cache. Every round asks a new one of
        a new store, and begins with the other server."""
        rounds = {}
        for number in range(self.arguments.rounds):
            servers = [Server("cairn", self.stored_command, self.folder / f"stored{number}"),
                       Server("llama-server", self.llama_command, self.folder / "llama")]
            for server in servers if number % 2 == 0 else reversed(servers):
                for name in (f"{server.name} cold", server.name):
                    try:
                        server.start()
                        found = self.load([server], "document", rounds=1, clients=1,
                                          document_tokens=self.arguments.long_tokens, max_tokens=4,
                                          salt=f"of both, {number}", seed=7)
                    finally:
                        server.stop()
                    rounds.setdefault(name, []).extend(values_of(found[server.name], "ttft_p50_ms"))
        return figure_of("ttft_p50_ms", rounds)

    def interference(self):
        return self.compared("itl_during_p99_ms", "interference", clients=3, long_tokens=self.arguments.long_tokens,
                             max_tokens=256)

    def memory(self):
        """The most bytes that so many sequences held, none of them shared; f16 is what cairn itself takes for it."""
        count, tokens = self.arguments.memory_sequences, self.arguments.memory_tokens
        rounds, prompts = {}, set()
        for number in range(self.arguments.rounds):
            for name, codec in (("cairn", MEMORY_CODEC), ("f16", "raw_f16")):
                server = Server(name, self.cairn_command("--codec", codec, parallel=count), self.folder / "memory")
                try:
                    server.start()
                    found = self.load([server], "separate", rounds=1, clients=count, document_tokens=tokens, max_tokens=4,
                                      salt=f"of both, {number}", seed=7)
                    tenant = server.state()["tenant"]
                finally:
                    server.stop()
                if tenant["index"]["evictions"]:
                    raise peer.PeerError(f"{count} sequences of {tokens} tokens in {codec} do not fit {KV_BYTES} bytes")
                rounds.setdefault(name, []).append(tenant["kv_high_water"])
                prompts.add(found[name]["rounds"][0]["prompt_tokens"])
        return {**figure_of("kv_high_water", rounds), "sequences": count, "prompt_tokens": sorted(prompts)}


def in_words(value):
    if isinstance(value, dict):
        return " ".join(f"{key} {in_words(one)}" for key, one in value.items())
    if isinstance(value, list):
        return "/".join(map(in_words, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main():
    arguments = parse_arguments()
    figures = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            comparison = Comparison(arguments, folder)
            version = comparison.llama.version("llama-server")
            for name in arguments.figures.split(","):
                print(f"measuring: {name}", file=sys.stderr)
                figures[name] = getattr(comparison, name)()
                figures[name]["ratio"] = figures[name]["cairn"] / figures[name][other_of(figures[name])]
                if not arguments.json:
                    print(f"{name:14}" + "  ".join(f"{key} {in_words(value)}" for key, value in figures[name].items()),
                          flush=True)
    except peer.NoPeer as error:
        print(error, file=sys.stderr)
        return peer.EXIT_NO_PEER
    except peer.PeerError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    if arguments.json:
        print(json.dumps({"cairn": peer.build_commit(), "llama.cpp": version, "figures": figures}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

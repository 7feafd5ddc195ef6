# SPDX-License-Identifier: Apache-2.0
"""The builds of the peers that a figure is held against, each with every flag that an expert would try.

llama.cpp reads prompts faster without its repacked weights and decodes some types faster with them; ik_llama.cpp has
the same choice under another name. Which is best depends on the file, so all of them run and a row's peer is the
fastest.
"""
import json
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import peer


# ik_llama.cpp's llama-sweep-bench spells some flags of its llama-bench in another way.
SWEEP_FLAGS = {("-fa", "1"): ["-fa", "on"], ("-rtr", "0"): [], ("-rtr", "1"): ["-rtr"], ("-khad", "1"): ["-khad"]}
HADAMARD = ("-khad", "1")  # on keys before they are rounded: it is for few bits, and llama-bench has no such flag
FOUR_BIT_KV = ("q4_0", "q4_1", "iq4_nl")

SWEEP_STEP = 512  # depths that a sweep passes when only decoding is asked for


@dataclass(frozen=True)
class Contender:
    """One build of one peer with one set of flags."""
    name: str
    tools: peer.Peer
    flags: tuple[tuple[str, str], ...]  # a flag of llama-bench and its value

    @property
    def label(self):
        return " ".join((self.name, *self.words))

    @property
    def words(self):
        return [word for flag in self.flags for word in flag]

    @property
    def bench_words(self):
        """Those of its llama-bench."""
        return [word for flag in self.flags if flag != HADAMARD for word in flag]

    def measures(self, _figure):
        return True


class Llama(Contender):
    """llama-bench: fills a cache once and copies it for each repetition."""

    def version(self, _arguments):
        return self.tools.version("llama-bench")

    def run(self, figure, arguments):
        """Tokens per second of each repetition. Raises peer.PeerError."""
        output = self.tools.run("llama-bench", "-m", arguments.model, "-t", arguments.threads, "-p", figure.prefill,
                                "-n", figure.decode, "-d", figure.depth, "-r", figure.repeat, "-ctk", figure.peer_kv,
                                "-ctv", figure.peer_kv, "-o", "json", *self.words)
        return json.loads(output)[0]["samples_ts"]


class Ik(Contender):
    """Its llama-bench at an empty cache; its llama-sweep-bench, which passes all depths on the way, at others."""

    def version(self, arguments):
        # It has no --version; its results name the build.
        output = self.tools.run("llama-bench", "-m", arguments.model, "-t", arguments.threads, "-p", 1, "-n", 0, "-r", 1,
                                "-o", "json", *self.bench_words)
        return json.loads(output[output.index("["):])[0]["build_commit"]

    def measures(self, figure):
        if HADAMARD in self.flags and (figure.depth == 0 or figure.peer_kv not in FOUR_BIT_KV):
            return False
        return figure.depth % (figure.prefill or SWEEP_STEP) == 0

    def run(self, figure, arguments):
        common = ["-m", arguments.model.resolve(), "-t", arguments.threads, "-ctk", figure.peer_kv, "-ctv", figure.peer_kv]
        if figure.depth == 0:
            output = self.tools.run("llama-bench", *common, "-p", figure.prefill, "-n", figure.decode, "-r",
                                    figure.repeat, "-o", "json", *self.words)
            return json.loads(output[output.index("["):])[0]["samples_ts"]
        step = figure.prefill or SWEEP_STEP
        set_flags = [word for flag in self.flags for word in SWEEP_FLAGS[flag]]
        with tempfile.TemporaryDirectory() as folder:  # it leaves a log where it runs
            output = self.tools.run_into_file("llama-sweep-bench", *common, "-c", figure.depth + step, "-ub", step,
                                              "-n", figure.decode or 1, "--output-format", "jsonl", *set_flags,
                                              folder=folder)
        rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        at_depth = [row for row in rows if row["n_kv"] == figure.depth]
        if not at_depth:
            raise peer.PeerError(f"llama-sweep-bench printed nothing for depth {figure.depth}")
        return [at_depth[0]["speed_pp" if figure.prefill else "speed_tg"]]


def add_arguments(parser):
    parser.add_argument("--llama", action="append", default=[], metavar="[NAME=]DIR",
                        help="folder of a llama.cpp build's programs, instead of --peer; runs with and without --repack; "
                             "may be given again")
    parser.add_argument("--ik", action="append", default=[], metavar="[NAME=]DIR",
                        help="the same of ik_llama.cpp; runs with and without -rtr, and with -khad as well where the KV cache "
                             "has 4 bits")


def contenders(arguments):
    """All that were asked for. Raises peer.NoPeer where one cannot run."""
    found = []
    for kind, texts, name, flag, more in ((Llama, arguments.llama, "llama.cpp", "--repack", [()]),
                                          (Ik, arguments.ik, "ik_llama.cpp", "-rtr", [(), (HADAMARD,)])):
        for text in texts:
            before, _, folder = text.rpartition("=")
            tools = peer.Peer.in_folder(Path(folder))
            if before in (rival.name for rival in found) or not before and len(texts) > 1:
                raise peer.NoPeer(f"give each of several builds a name of its own, as NAME={folder}")
            found += [kind(before or name, tools, (("-fa", "1"), (flag, value), *also))
                      for also in more for value in ("0", "1")]
    return found or [Llama("llama.cpp", peer.Peer(arguments.peer), ())]


def best(samples):
    """The label of the fastest by its median, of {label: [tokens per second]}; None without samples."""
    medians = {label: statistics.median(values) for label, values in samples.items() if values}
    return max(medians, key=medians.get) if medians else None

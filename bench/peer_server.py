# SPDX-License-Identifier: Apache-2.0
"""llama-server with a deep KV cache, and how it gets one without computing it.

Computing a deep cache takes llama.cpp very long, for each KV type again. Instead a short prompt is computed, its slot
is saved, the file's keys and values are repeated up to the depth, and the server restores that. It decodes from a cache
of that many cells, all visible: CPU time per token grows with depth as it does on a computed cache.

It is not proven to be quite the same. On a small model at depth 1900 and a busy machine, caches repeated from 256
tokens decoded up to 6 % slower than computed ones, in most comparisons but not all; restoring a computed cache cost
nothing, and from 1024 tokens no slowdown beyond noise was seen. Hence SEED_TOKENS; a ratio that passes its target by
less than that wants a run with --kv-fill computed.
"""
import json
import socket
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from peer import PeerError, last_line

SEED_TOKENS = 1024
SLOT = 0
START_TIMEOUT_S = 600
CELL = struct.Struct("<iIi")  # position, number of sequences, sequence
ROWS = struct.Struct("<iQ")  # type, bytes of a token's row
ROTATION_WORDS = (2, 0)  # widths of the rotations of K and V follow the number of layers, in versions that rotate


def filler(count):
    """Token ids that any model has, the same in every run; prefixes of each other."""
    return [3 + 7919 * i % 500 for i in range(count)]


class SavedSlot:
    """A state file of one sequence (llama_state_seq_save_file, version 4) taken apart. Raises PeerError.

    u32 magic, version, words | words: the server's -1, 1, count, ids[count], 0 | u32 streams, cells | cells of CELL |
    u32 transposed V, layers | rotations | for K then V, for each layer: ROWS, rows[cells].
    """

    def __init__(self, data):
        try:
            self._parse(data)
        except (struct.error, ValueError) as error:
            raise PeerError(f"the state file of this llama.cpp is laid out differently ({error}); "
                            "fill its cache by computing it, with --kv-fill computed") from error

    def _parse(self, data):
        magic, self.version, count = struct.unpack_from("<4s2I", data)
        words = struct.unpack_from(f"<{count}i", data, 12)
        at = 12 + 4 * count
        streams, cells = struct.unpack_from("<2I", data, at)
        if magic != b"qsgg" or words[:3] != (-1, 1, cells) or count != cells + 4 or words[-1] != 0 or streams != 1:
            raise ValueError("its head")
        at += 8
        for position in range(cells):
            if CELL.unpack_from(data, at) != (position, 1, SLOT):
                raise ValueError("its cells")
            at += CELL.size
        transposed, layers = struct.unpack_from("<2I", data, at)
        if transposed:
            raise ValueError("values are transposed")
        for words in ROTATION_WORDS:
            self.between = data[at : at + 8 + 4 * words]
            self.sections = self._sections(data, at + len(self.between), cells, 2 * layers)
            if self.sections:
                self.cells = cells
                return
        raise ValueError("its rows")

    @staticmethod
    def _sections(data, at, cells, count):
        """(ROWS, rows) of all layers' keys, then values; None if they do not end where the file does."""
        sections = []
        for _ in range(count):
            if at + ROWS.size > len(data):
                return None
            type_, row = ROWS.unpack_from(data, at)
            at += ROWS.size
            sections.append(((type_, row), data[at : at + cells * row]))
            at += cells * row
        return sections if at == len(data) else None

    def write_repeated(self, path, depth):
        """The same with `depth` tokens."""
        with open(path, "wb") as file:
            file.write(struct.pack("<4s2I", b"qsgg", self.version, depth + 4))
            file.write(struct.pack(f"<{depth + 4}i", -1, 1, depth, *filler(depth), 0))
            file.write(struct.pack("<2I", 1, depth))
            for position in range(depth):
                file.write(CELL.pack(position, 1, SLOT))
            file.write(self.between)
            for rows, data in self.sections:
                file.write(ROWS.pack(*rows))
                file.write(data * (depth // self.cells) + data[: depth % self.cells * rows[1]])


class Server:
    """A llama-server of one sequence; a context manager that ends it. All raise PeerError."""

    def __init__(self, llama, model, threads, kv_type, context, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.log = tempfile.TemporaryFile()
        command = llama.command("llama-server", "-m", model, "-t", threads, "-c", context, "-np", 1, "-fa", "on",
                                "-ctk", kv_type, "-ctv", kv_type, "--cache-ram", 0, "--slot-save-path", f"{folder}/",
                                "--host", "127.0.0.1", "--port", self.port)
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()

    def _ask(self, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}",
                                         None if body is None else json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request) as answer:
                return json.loads(answer.read())
        except (urllib.error.URLError, ConnectionError) as error:
            reason = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else error
            raise PeerError(f"llama-server did not answer {path}: {reason}") from error

    def wait(self):
        for _ in range(2 * START_TIMEOUT_S):
            if self.process.poll() is not None:
                self.log.seek(0)
                raise PeerError(f"llama-server ended: {last_line(self.log.read().decode(errors='replace'))}")
            try:
                self._ask("/health")
                return
            except PeerError:
                time.sleep(0.5)
        raise PeerError("llama-server does not get ready")

    def _complete(self, tokens, predict):
        return self._ask("/completion", {"prompt": tokens, "n_predict": predict, "id_slot": SLOT, "cache_prompt": True,
                                         "samplers": ["top_k"], "top_k": 1, "ignore_eos": True})["timings"]

    def fill(self, depth, computed):
        """Puts `depth` tokens into the cache."""
        self.wait()
        tokens = filler(depth)
        self._complete(tokens if computed else tokens[:SEED_TOKENS], 1)
        if not computed and depth > SEED_TOKENS:
            saved, repeated = (self.folder / f"{name}-{self.port}.slot" for name in ("seed", "repeated"))
            self._ask(f"/slots/{SLOT}?action=save", {"filename": saved.name})
            SavedSlot(saved.read_bytes()).write_repeated(repeated, depth)
            self._ask(f"/slots/{SLOT}?action=restore", {"filename": repeated.name})
            saved.unlink()
            repeated.unlink()
        self.depth = depth

    def decode(self, count):
        """Tokens per second of `count` tokens after the filled cache."""
        timings = self._complete(filler(self.depth), count + 1)  # the first comes from the prompt's last token
        if timings["cache_n"] < self.depth - 1 or timings["predicted_n"] != count + 1:
            raise PeerError(f"llama-server found {timings['cache_n']} of {self.depth} tokens in its cache and "
                            f"predicted {timings['predicted_n']}")
        return 1000 * count / timings["predicted_ms"]

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server among clients that cancel, stall, send garbage, too much or nothing, and hold wrong keys.

usage: serve_torture.py [REQUESTS [CLIENTS [SEED [CODEC]]]]        CAIRN_BINARY names the binary

Fails unless every answered request has the bytes that one user alone gets, every other one the status it deserves, nothing
crashes, and memory, descriptors and KV bytes stay within their bounds. Prints what was sent and what came back.
"""
import collections
import json
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from cli_test import BINARY, MODEL, ROOT, cairn

KEYS = {"alice": "a-long-enough-key-of-alice", "bob": "another-key-of-bobs"}
KV_BUDGET = 10 << 20
MOST_BODY = 256 << 10
DOCUMENT = (ROOT / "examples/demo_document.txt").read_text()
TIMEOUT = 120
SETTLED = 60
# What one process may grow by after the first tenth: thread stacks, arenas of the allocator, the log's and the record's
# rings. A leak of 10 KiB in each of 10,000 requests is 100 MiB.
MOST_GROWTH = 48 << 20


PUBLIC = DOCUMENT[:1500]  # what every tenant's cache holds
# More than admission counts on, from more than there is room for together: some have to be parked.
LONG = [(f"The story of number {i}. " * 8, 700) for i in range(8)]


def prompts():
    """Some share beginnings, in different lengths; some do not."""
    made = [(DOCUMENT[:size] + f"\n\nQuestion {i}: what is said?\nAnswer:", 12 + i)
            for i, size in enumerate((400, 400, 900, 900, 1500, 1500, 1500, 2200))]
    return made + [(f"{i} is a number of its own. " * (3 + 4 * i), 8 + i) for i in range(8)]


def single_user(prompt, tokens, codec, *options):
    done = cairn("run", "-m", MODEL, "-p", prompt, "--raw", "-n", tokens, "--temp", 0, "--json", "--codec", codec, *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["text"]


class Client:
    """One request over a connection of its own, so that it can be spoilt anywhere."""

    def __init__(self, port, dice):
        self.port, self.dice = port, dice

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)

    def head(self, length, key, path="/v1/completions"):
        authorization = f"Authorization: Bearer {key}\r\n" if key else ""
        return (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n{authorization}"
                f"Content-Length: {length}\r\nConnection: close\r\n\r\n").encode()

    def send(self, data):
        """All of it, then the status and the body of the reply; 0 when the server closed without one."""
        with self.connect() as connection:
            try:
                connection.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may answer before it has read everything
            got = b""
            try:
                while part := connection.recv(65536):
                    got += part
            except ConnectionResetError:
                pass
        return parse_reply(got)

    def post(self, body, key, path="/v1/completions"):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(self.head(len(body), key, path) + body)


def parse_reply(got):
    if not got.startswith(b"HTTP/1.1 "):
        return 0, b""
    head, _, body = got.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        body = unchunk(body)
    return int(got[9:12]), body


def unchunk(body):
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole += body[:int(size, 16)]
        body = body[int(size, 16) + 2:]
    return whole


def streamed_text(body):
    text, ended = "", False
    for line in body.decode().splitlines():
        if line == "data: [DONE]":
            ended = True
        elif line.startswith("data: "):
            event = json.loads(line[6:])
            assert "error" not in event, line
            text += "".join(choice["text"] for choice in event["choices"])
    assert ended, body[-200:]
    return text


BUSY = (429, 503)


class Mix:
    def __init__(self, port, answers, seed):
        self.port, self.answers, self.seed = port, answers, seed
        self.counts = collections.Counter()
        self.failures = []
        self.lock = threading.Lock()
        self.kinds = [(8, self.good), (4, self.good_stream), (4, self.cancelled), (1, self.cancelled_unread), (2, self.malformed),
                      (2, self.wrong_fields), (1, self.huge), (2, self.wrong_key), (1, self.empty), (1, self.slow),
                      (1, self.broken_http), (1, self.looks)]

    def one(self, number):
        dice = random.Random(self.seed * 1000003 + number)
        kind = dice.choices([kind for _, kind in self.kinds], [weight for weight, _ in self.kinds])[0]
        name = kind.__name__
        try:
            outcome = kind(Client(self.port, dice), dice)
        except Exception as error:  # what went wrong is the finding
            with self.lock:
                self.failures.append(f"request {number} ({name}): {type(error).__name__}: {error}")
            return
        with self.lock:
            self.counts[f"{name}: {outcome}"] += 1

    def key(self, dice):
        return KEYS[dice.choice(sorted(KEYS))]

    def ask(self, dice, **more):
        prompt, tokens = dice.choice(sorted(self.answers))
        body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, **more}
        return body, self.answers[prompt, tokens]

    def good(self, client, dice):
        body, expected = self.ask(dice)
        status, got = client.post(body, self.key(dice))
        if status in BUSY:
            return status
        assert status == 200, (status, got)
        text = json.loads(got)["choices"][0]["text"]
        assert text == expected, f"{text!r} instead of {expected!r}"
        return "right"

    def good_stream(self, client, dice):
        body, expected = self.ask(dice, stream=True)
        status, got = client.post(body, self.key(dice))
        if status in BUSY:
            return status
        assert status == 200, (status, got)
        text = streamed_text(got)
        assert text == expected, f"{text!r} instead of {expected!r}"
        return "right"

    def cancelled(self, client, dice):
        body, _ = self.ask(dice, stream=True, ignore_eos=True)
        body["max_tokens"] = 300
        data = json.dumps(body).encode()
        with client.connect() as connection:
            connection.sendall(client.head(len(data), self.key(dice)) + data)
            connection.recv(dice.choice((1, 200, 2000)))
            self.reset(connection)
        return "sent"

    def cancelled_unread(self, client, dice):
        body, _ = self.ask(dice, stream=dice.random() < 0.5, n=dice.choice((1, 3)))
        data = json.dumps(body).encode()
        with client.connect() as connection:
            connection.sendall(client.head(len(data), self.key(dice)) + data[:dice.randrange(len(data) + 1)])
            self.reset(connection)
        return "sent"

    def reset(self, connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def malformed(self, client, dice):
        body, _ = self.ask(dice)
        data = bytearray(json.dumps(body).encode())
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(data))
            data[at:at + dice.choice((0, 1, 9))] = dice.randbytes(dice.choice((0, 1, 4)))
        path = dice.choice(("/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize", "/v1/embeddings"))
        status, got = client.post(bytes(data), self.key(dice), path)
        assert status in (200, 400, 404, 501) + BUSY, (status, got)
        return status

    def wrong_fields(self, client, dice):
        body, _ = self.ask(dice)
        name, value = dice.choice((("temperature", "hot"), ("max_tokens", -1), ("max_tokens", 10 ** 9), ("n", 0), ("n", 10 ** 6),
                                   ("prompt", None), ("prompt", [[]]), ("prompt", [10 ** 9]), ("stop", [1]), ("stop", ["x"] * 99),
                                   ("logit_bias", {"5": 1}), ("grammar", "root ::= x"), ("seed", "x"), ("top_p", 7),
                                   ("stream", "yes"), ("stop", "\ud800"), ("prompt", {"a": 1})))
        status, got = client.post({**body, name: value}, self.key(dice))
        assert status == 400, (name, value, status, got)
        assert "error" in json.loads(got)
        return status

    def huge(self, client, dice):
        kind = dice.randrange(3)
        if kind == 0:  # said to be too long
            status, got = client.send(client.head(1 << 40, self.key(dice)) + b"{")
        elif kind == 1:  # is too long
            status, got = client.post({"prompt": "x" * (MOST_BODY + 1)}, self.key(dice))
        else:
            status, got = client.post({"prompt": "word " * 40000}, self.key(dice))
        assert status == (400 if kind == 2 else 413), (kind, status, got[:200])
        return status

    def wrong_key(self, client, dice):
        body, _ = self.ask(dice)
        key = dice.choice((None, "sk-" + "x" * 40, KEYS["alice"] + "x", KEYS["bob"][:-1], "\\u0000"))
        status, got = client.post(body, key)
        assert status == 401, (status, got)
        return status

    def empty(self, client, dice):
        status, got = client.post(dice.choice((b"", b"{}", b"[]", b"null", b" ", b"\0")), self.key(dice))
        assert status == 400, (status, got)
        return status

    def slow(self, client, dice):
        """Byte by byte for a while, then gone or finished."""
        body, expected = self.ask(dice)
        data = json.dumps(body).encode()
        data = client.head(len(data), self.key(dice)) + data
        finishes = dice.random() < 0.5
        with client.connect() as connection:
            for at in range(40):
                connection.sendall(data[at:at + 1])
                time.sleep(0.005)
            if not finishes:
                return "gone"
            connection.sendall(data[40:])
            got = b""
            while part := connection.recv(65536):
                got += part
        status, reply = parse_reply(got)
        if status in BUSY:
            return status
        assert status == 200, (status, reply)
        assert json.loads(reply)["choices"][0]["text"] == expected
        return "right"

    def broken_http(self, client, dice):
        junk = dice.choice((
            dice.randbytes(dice.randrange(1, 300)) + b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n",
            b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
            client.head(10, self.key(dice)).replace(b"Content-Length: 10", b"Content-Length: 10\r\nContent-Length: 11") + b"x" * 11,
            client.head(5, self.key(dice)).replace(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"zz\r\nhello\r\n0\r\n\r\n",
            client.head(0, self.key(dice)).replace(b"Content-Length: 0", b"Content-Length: -1"),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(200)))
        with client.connect() as connection:
            try:
                connection.sendall(junk)
                connection.shutdown(socket.SHUT_WR)
                got = b""
                while part := connection.recv(65536):
                    got += part
            except (BrokenPipeError, ConnectionResetError):
                return "closed"
        status = parse_reply(got)[0]
        assert status == 0 or 400 <= status < 500, got[:300]
        return status

    def looks(self, client, dice):
        path = dice.choice(("/metrics", "/api/state", "/api/blocks", "/health", "/", "/v1/models", "/none", "/%00", "/../etc/passwd"))
        key = f"Authorization: Bearer {self.key(dice)}\r\n"
        status, got = client.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}Connection: close\r\n\r\n".encode())
        assert status == (404 if path in ("/none", "/%00", "/../etc/passwd") else 200), (path, status, got[:200])
        return status


class Process:
    def __init__(self, folder, codec):
        keys = folder / "keys"
        public = folder / "public.json"
        public.write_text(json.dumps({"prompt": PUBLIC}))
        keys.write_text("".join(f"{name} {cairn('serve', '--hash-key', stdin=key.encode()).stdout.decode().strip()}\n"
                                for name, key in KEYS.items()))
        self.store = folder / "store"
        self.log = open(folder / "log", "w+b")
        self.process = subprocess.Popen(
            [BINARY, "serve", MODEL, "--port", "0", "--api-keys", keys, "--kv-budget", str(KV_BUDGET), "--store", self.store,
             "--codec", codec, "--public-prefix", public, "--parallel", "8", "--max-waiting", "24", "--max-body", str(MOST_BODY), "--request-timeout", "60"],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        assert "http://127.0.0.1:" in line, "no server: " + self.log_end()
        self.port = int(line.split("http://127.0.0.1:")[1].split(":")[0])

    def log_end(self):
        self.log.seek(0)
        return self.log.read()[-2000:].decode(errors="replace")

    def resident(self):
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * 4096

    def descriptors(self):
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def state(self, tenant):
        status, body = Client(self.port, None).send(
            f"GET /api/state HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEYS[tenant]}\r\nConnection: close\r\n\r\n"
            .encode())
        assert status == 200, (status, body)
        return json.loads(body)

    def settle(self):
        """Waits until nothing runs any more."""
        deadline = time.monotonic() + SETTLED
        while True:
            loop = self.state("alice")["loop"]
            if loop["running"] + loop["waiting"] == 0:
                return loop
            assert time.monotonic() < deadline, f"still running: {loop}"
            time.sleep(0.05)


def run_clients(mix, numbers, clients):
    numbers = iter(numbers)
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            mix.one(number)
            if sys.stderr.isatty() and number % 50 == 0:
                print(f"\r{number} requests, {len(mix.failures)} failures", end="", file=sys.stderr)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def park(mix, answers):
    """Long answers at once, for one tenant."""
    def ask(prompt, tokens):
        status, got = Client(mix.port, None).post(
            {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}, KEYS["alice"])
        text = json.loads(got)["choices"][0]["text"] if status == 200 else status
        if text != answers[prompt, tokens]:
            mix.failures.append(f"a long answer: {text!r} instead of {answers[prompt, tokens]!r}")

    threads = [threading.Thread(target=ask, args=what) for what in answers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(requests=10000, clients=24, seed=1, codec="raw_f16"):
    answers = {(prompt, tokens): single_user(prompt, tokens, codec) for prompt, tokens in prompts()}
    long_answers = {what: single_user(*what, codec, "--ignore-eos") for what in LONG}
    with tempfile.TemporaryDirectory() as name:
        server = Process(Path(name), codec)
        try:
            mix = Mix(server.port, answers, seed)
            warm = max(requests // 10, min(requests, 100))
            run_clients(mix, range(warm), clients)
            server.settle()
            resident, descriptors = server.resident(), server.descriptors()
            run_clients(mix, range(warm, requests), clients)
            park(mix, long_answers)
            loop = server.settle()
            problems = list(mix.failures)
            grown = server.resident() - resident
            if grown > MOST_GROWTH:
                problems.append(f"grew by {grown} bytes")
            if server.descriptors() > descriptors + 4:
                problems.append(f"{server.descriptors()} descriptors, {descriptors} before")
            tenants = {tenant: server.state(tenant)["tenant"] for tenant in KEYS}
            for tenant, state in tenants.items():
                if state["kv_high_water"] > state["kv_budget"]:
                    problems.append(f"{tenant} held {state['kv_high_water']} bytes of {state['kv_budget']}")
            if not loop["parked"]:
                problems.append("nothing was parked, so parking was not tried")
            if loop["failed"]:
                problems.append(f"{loop['failed']} requests failed inside")
            server.process.send_signal(signal.SIGTERM)
            code = server.process.wait(timeout=60)
            if code != 0:
                problems.append(f"ended with {code}: {server.log_end()}")
            verified = cairn("store", "verify", server.store)
            if verified.returncode != 0:
                problems.append(f"store verify: {verified.stderr.decode()}")
        except Exception as error:
            problems = [f"{type(error).__name__}: {error}", server.log_end()]
            raise
        finally:
            server.process.kill()
            server.process.wait()
        for outcome, count in sorted(mix.counts.items()):
            print(f"{count:7d}  {outcome}")
        print(f"{requests} requests, {loop['parked']} times parked, {loop['cancelled']} cancelled; resident memory "
              f"{resident / 2**20:.1f} MiB after {warm}, {grown / 2**20:+.1f} MiB since; KV "
              + ", ".join(f"{t} at most {s['kv_high_water'] / 2**20:.1f} of {s['kv_budget'] / 2**20:.1f} MiB"
                          for t, s in tenants.items()))
        for problem in problems[:20]:
            print("WRONG:", problem)
        return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:4]), *sys.argv[4:5]))

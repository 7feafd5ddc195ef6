#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server among clients that cancel, stall, send garbage, too much or nothing, and hold wrong keys.

usage: serve_torture.py [REQUESTS [CLIENTS [SEED [CODEC]]]]        CAIRN_BINARY names the binary

Fails unless every answered request has the bytes that one user alone gets, every other one the status it deserves, at
least half of the good ones are answered, clients that go away are noticed, nothing crashes, and memory, descriptors and
KV bytes stay within their bounds. Prints what was sent and what came back.
"""
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from cli_test import BINARY, MODEL, ROOT, cairn
from torture_clients import KEYS, MAX_BODY, Client, Mix

KV_BUDGET = 10 << 20
DOCUMENT = (ROOT / "examples/demo_document.txt").read_text()
SETTLED = 60
# What one process may grow by after the first tenth: thread stacks, arenas of the allocator, the log's and the record's
# rings. A leak of 10 KiB in each of 10,000 requests is 100 MiB.
MAX_GROWTH = 48 << 20
PUBLIC = DOCUMENT[:1500]  # what every tenant's cache holds
# More than admission counts on, from more than there is room for together: some have to be preempted.
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
            [BINARY, "serve", MODEL, "--port", "0", "--api-keys", keys, "--metrics-open",
             "--kv-budget", str(KV_BUDGET), "--store", self.store, "--codec", codec, "--public-prefix", public,
             "--parallel", "8", "--max-waiting", "24", "--max-body", str(MAX_BODY), "--request-timeout", "60"],
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


def preempt(mix, answers):
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
            preempt(mix, long_answers)
            loop = server.settle()
            problems = mix.failures + mix.shortfalls(loop["cancelled"])
            grown = server.resident() - resident
            if grown > MAX_GROWTH:
                problems.append(f"grew by {grown} bytes")
            if server.descriptors() > descriptors + 4:
                problems.append(f"{server.descriptors()} descriptors, {descriptors} before")
            tenants = {tenant: server.state(tenant)["tenant"] for tenant in KEYS}
            for tenant, state in tenants.items():
                if state["kv_high_water"] > state["kv_budget"]:
                    problems.append(f"{tenant} held {state['kv_high_water']} bytes of {state['kv_budget']}")
            if not loop["preempted"]:
                problems.append("nothing was preempted, so preempting was not tried")
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
        for (kind, outcome), count in sorted(mix.counts.items(), key=str):
            print(f"{count:7d}  {kind}: {outcome}")
        print(f"{requests} requests, {loop['preempted']} times preempted, {loop['cancelled']} cancelled; resident memory "
              f"{resident / 2**20:.1f} MiB after {warm}, {grown / 2**20:+.1f} MiB since; KV "
              + ", ".join(f"{t} at most {s['kv_high_water'] / 2**20:.1f} of {s['kv_budget'] / 2**20:.1f} MiB"
                          for t, s in tenants.items()))
        for problem in problems[:20]:
            print("WRONG:", problem)
        return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:4]), *sys.argv[4:5]))

# SPDX-License-Identifier: Apache-2.0
"""Clients of serve_torture.py, good and hostile: what each kind sends, and what it has to get."""
import collections
import json
import random
import socket
import struct
import threading
import time

KEYS = {"alice": "a-long-enough-key-of-alice", "bob": "another-key-of-bobs"}
MAX_BODY = 256 << 10
TIMEOUT = 120
BUSY = (429, 503)
LEAST_RIGHT = 0.5  # of good requests: being busy is no way to pass


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
            self.counts[name, outcome] += 1

    def shortfalls(self, cancelled):
        """What is wrong with the whole where every single outcome was allowed. `cancelled` is the server's own count."""
        wrong = []
        for name in ("good", "good_stream"):
            asked = sum(count for (kind, _), count in self.counts.items() if kind == name)
            right = self.counts[name, "right"]
            if right < LEAST_RIGHT * asked:
                wrong.append(f"only {right} of {asked} {name} were answered")
        if self.counts["cancelled", "sent"] and not cancelled:
            wrong.append("the server saw none of the cancelled requests go")
        return wrong

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
            status, got = client.post({"prompt": "x" * (MAX_BODY + 1)}, self.key(dice))
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

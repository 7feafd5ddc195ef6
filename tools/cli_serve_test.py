#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`cairn serve` from outside, on the demo model. CAIRN_BINARY names the binary."""
import http.client
import json
import re
import select
import signal
import subprocess
import threading
import time
import unittest

from cli_test import BINARY, INTERRUPTED, MODEL, NOT_FOUND, UNSUPPORTED, USAGE, CommandLine, cairn

KEY = "a-long-enough-key-of-alice"
LONG = "The code of river is 5931. " * 12


class Server(CommandLine):
    def start(self, *options, port=0):
        """Starts a server, by default on a free port, and waits for its line."""
        self.process = subprocess.Popen([BINARY, "serve", *map(str, options), "--port", str(port)], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end)
        self.assertTrue(select.select([self.process.stdout], [], [], 60)[0], "no line within a minute")
        self.line = self.process.stdout.readline()
        found = re.search(r"https?://127\.0\.0\.1:(\d+)", self.line)
        self.assertTrue(found, self.line + (self.process.stderr.read() if not self.line else ""))
        self.port = int(found[1])

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=60)
        return self.process.returncode, log

    def ask(self, method, path, body=None, key=None, raw=False):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        return (reply.status, text) if raw else (reply.status, json.loads(text))

    def complete(self, key=None, **fields):
        return self.ask("POST", "/v1/completions", {"prompt": LONG, "max_tokens": 8, "temperature": 0, **fields}, key)


class Serving(Server):
    def test_answers_are_those_of_run_and_prefixes_are_reused(self):
        self.start(MODEL, "--log-json")
        status, first = self.complete()
        self.assertEqual(status, 200, first)
        ran = cairn("run", "-m", MODEL, "-p", LONG, "--raw", "-n", 8, "--temp", 0, "--json")
        self.assertEqual(first["choices"][0]["text"], json.loads(ran.stdout)["text"])
        _, again = self.complete()
        self.assertEqual(again["choices"], first["choices"])
        self.assertGreater(again["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        _, blocks = self.ask("GET", "/api/blocks")
        self.assertIn("river", blocks["blocks"][0]["text"])
        _, record = self.ask("GET", "/api/requests/" + again["id"])
        self.assertIn("were taken from the cache", record["explanation"])
        status, text = self.ask("GET", "/metrics", raw=True)
        self.assertIn('cairn:prefix_cache_hits_total{tenant=""} %d' %
                      again["usage"]["prompt_tokens_details"]["cached_tokens"], text)
        code, log = self.stop()
        self.assertEqual(code, 0, log)
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        done = [line for line in lines if line.get("endpoint") == "/v1/completions"]
        self.assertEqual([line["status"] for line in done], [200, 200])
        self.assertEqual(done[1]["cached_tokens"], again["usage"]["prompt_tokens_details"]["cached_tokens"])

    def test_a_chat_streams(self):
        self.start("-m", MODEL, "--served-name", "demo")
        status, text = self.ask("POST", "/v1/chat/completions", {
            "model": "demo", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5, "stream": True}, raw=True)
        self.assertEqual(status, 200)
        events = [line[6:] for line in text.splitlines() if line]
        self.assertEqual(events[-1], "[DONE]")
        self.assertEqual(json.loads(events[-2])["choices"][0]["finish_reason"], "length")
        self.assertEqual(self.ask("GET", "/v1/models")[1]["data"][0]["id"], "demo")

    def test_names_for_the_chat_template(self):
        own = self.file("own.jinja", b"{{ messages[0].content * n }}{{ ' and so on' if more }}")
        self.start(MODEL, "--chat-template", own, "--chat-template-kwargs", '{"n": 4, "more": true}')

        def tokens(**kwargs):
            body = {"messages": [{"role": "user", "content": "river "}], "max_tokens": 1}
            status, reply = self.ask("POST", "/v1/chat/completions", {**body, **kwargs})
            self.assertEqual(status, 200, reply)
            return reply["usage"]["prompt_tokens"]
        by_default = tokens()
        self.assertEqual(by_default, tokens(chat_template_kwargs={"n": 4}))
        self.assertLess(tokens(chat_template_kwargs={"more": False}), by_default)
        self.assertGreater(tokens(chat_template_kwargs={"n": 8}), by_default)
        status, reply = self.ask("POST", "/v1/chat/completions", {
            "messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": {"n": {}}})
        self.assertEqual((status, reply["error"]["param"]), (400, "chat_template_kwargs"), reply)
        self.assertIn("the chat template fails: line 1: ", reply["error"]["message"])

    def test_keys_separate_tenants(self):
        digest = cairn("serve", "--hash-key", stdin=KEY.encode() + b"\n").stdout.decode().strip()
        other = cairn("serve", "--hash-key", stdin=b"another-key-of-bobs").stdout.decode().strip()
        keys = self.file("keys", f"alice {digest} kv=256MiB\nbob {other} running=1\n".encode())
        self.start(MODEL, "--api-keys", keys)
        self.assertIn("keys of 2 tenants", self.line)
        self.assertEqual(self.complete()[0], 401)
        for _ in range(2):
            status, alice = self.complete(key=KEY)
            self.assertEqual(status, 200, alice)
        self.assertGreater(alice["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        _, bob = self.complete(key="another-key-of-bobs")
        self.assertEqual(bob["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        self.assertEqual(bob["choices"][0]["text"], alice["choices"][0]["text"])
        self.assertEqual(self.ask("GET", "/api/state", key=KEY)[1]["tenant"]["kv_budget"], 256 << 20)

    def test_time_tells_a_tenant_nothing_of_anothers_prefixes(self):
        """A sign test, so that a busy machine cannot decide it: of 24 pairs a leak would win nearly all."""
        names = {"alice": KEY, "bob": "another-key-of-bobs"}
        lines = [f"{name} {cairn('serve', '--hash-key', stdin=key.encode()).stdout.decode().strip()}"
                 for name, key in names.items()]
        self.start(MODEL, "--api-keys", self.file("keys", "\n".join(lines).encode()))

        def seconds(key, prompt):
            began = time.monotonic()
            status, answer = self.complete(key, prompt=prompt, max_tokens=1)
            self.assertEqual(status, 200, answer)
            return time.monotonic() - began

        own = foreign = 0
        for number in range(24):
            known, unknown = (f"Text {number} of {kind}. " + "The code of river is 5931. " * 60 for kind in ("alice", "nobody"))
            cold = seconds(KEY, known)
            own += seconds(KEY, known) < cold
            pair = [("known", known), ("unknown", unknown)]
            took = {name: seconds(names["bob"], prompt) for name, prompt in (pair if number % 2 else pair[::-1])}
            foreign += took["known"] < took["unknown"]
        self.assertGreaterEqual(own, 20, "the probe sees no hit at all, so it proves nothing")
        self.assertLess(foreign, 21)
        self.assertGreater(foreign, 3)

    def test_public_prefixes_are_for_all_tenants(self):
        public = self.file("public.json", json.dumps({"prompt": LONG}).encode())
        self.start(MODEL, "--public-prefix", public)
        self.assertGreater(self.complete()[1]["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        self.assert_error(USAGE, "bad.json: 'messages' must be a list", "serve", MODEL, "--public-prefix",
                          self.file("bad.json", b'{"messages": 3}'))

    def test_a_request_may_ask_for_a_policy_where_the_server_lets_it(self):
        self.start(MODEL, "--policy", "keydiff+keep=0.5", "--request-policies", "quest,full")
        self.assertIn("policy keydiff+keep=0.5, requests may ask for quest, full", self.line)
        for asked, name in (({}, "keydiff+keep=0.5"), ({"cairn": {"policy": "quest+keep=0.1"}}, "quest+keep=0.1"),
                            ({"cairn": {"policy": "none"}}, None)):
            status, answer = self.complete(n=2, **asked)
            self.assertEqual(status, 200, answer)
            _, record = self.ask("GET", "/api/requests/" + answer["id"])
            self.assertEqual(record["usage"].get("policy", {}).get("name"), name)
            self.assertEqual(f"Policy {name}" in record["explanation"], name is not None)
        for asked, words in (("snapkv", "'snapkv' may not be asked for here"), ("quets", "no token policy 'quets'"),
                             ("quest+full", "two token policies at once")):
            status, answer = self.complete(cairn={"policy": asked})
            self.assertEqual((status, answer["error"]["param"]), (400, "cairn.policy"))
            self.assertIn(words, answer["error"]["message"])
        self.end()
        self.start(MODEL)
        status, answer = self.complete(cairn={"policy": "quest"})
        self.assertEqual(status, 400)
        self.assertIn("--request-policies", answer["error"]["message"])

    def test_none_is_no_policy(self):
        self.start(MODEL, "--policy", "none")
        self.assertNotIn("policy", self.line)
        status, answer = self.complete()
        self.assertEqual(status, 200, answer)

    def test_exact_parts_beside_a_raw_codec_change_nothing(self):
        self.start(MODEL, "--codec", "raw_f16+recent=2+prefill=exact")
        self.assertEqual(self.complete()[0], 200)

    def test_a_store_outlives_the_server(self):
        store = self.folder / "kv"
        self.start(MODEL, "--store", store)
        self.assertIn(str(store), self.line)
        _, first = self.complete()
        self.assertEqual(self.stop()[0], 0)
        self.start(MODEL, "--store", store)
        _, again = self.complete()
        self.assertGreater(again["usage"]["prompt_tokens_details"]["stored_tokens"], 0)
        self.assertEqual(again["choices"], first["choices"])


class Stopping(Server):
    def long_answer(self):
        """An answer under way, in a thread of its own; the list gets what came of it."""
        got = []
        ask = {"prompt": "The", "max_tokens": 1500, "ignore_eos": True, "stream": True}
        thread = threading.Thread(target=lambda: got.append(self.ask("POST", "/v1/completions", ask, raw=True)))
        thread.start()
        self.addCleanup(thread.join)
        deadline = time.monotonic() + 30
        while self.ask("GET", "/api/state")[1]["loop"]["running"] == 0:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        return thread, got

    def test_what_runs_may_finish(self):
        self.start(MODEL, "--drain", 60)
        thread, got = self.long_answer()
        code, log = self.stop()
        thread.join()
        self.assertEqual(code, 0, log)
        self.assertIn('"finish_reason":"length"', got[0][1])

    def test_what_does_not_finish_in_time_is_told(self):
        self.start(MODEL, "--drain", 0)
        thread, got = self.long_answer()
        code, log = self.stop(signal.SIGINT)
        thread.join()
        self.assertEqual(code, 0, log)
        self.assertIn('"code":"stopping"', got[0][1])
        self.assertTrue(got[0][1].endswith("data: [DONE]\n\n"))

    def test_a_second_signal_ends_at_once(self):
        self.start(MODEL, "--drain", 60)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = json.dumps({"prompt": "The", "max_tokens": 2000, "ignore_eos": True, "stream": True})
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        self.addCleanup(connection.close)
        connection.getresponse().read(10)
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 30
        while self.ask("GET", "/ready")[0] != 503:
            self.assertLess(time.monotonic(), deadline)
        code, _ = self.stop()
        self.assertEqual(code, INTERRUPTED)


class Configuring(Server):
    def test_a_file_sets_options_and_the_command_line_wins(self):
        config = self.file("cairn.toml", f"""
model = "{MODEL}"
served-name = "from-file"
ctx = 512
metrics-open = true
log-json = false
kv-budget = "64MiB"
allow-origin = ["https://a.example", "https://b.example"]
temp = 0.5
""".encode())
        self.start("--config", config, "--ctx", 1024)
        self.assertIn("'from-file'", self.line)
        self.assertIn("1024 tokens", self.line)
        self.assertIn("64.0 MiB", self.line)
        self.assertIn("open metrics", self.line)

    def test_errors_are_one_line(self):
        def config(text):
            return self.file("bad.toml", text.encode())
        for words, text in (("bad.toml:2: unknown key 'prot'", "ctx = 512\nprot = 80"), ("unknown key 'config'", 'config = "x"'),
                            ("unknown key 'tenant'", 'tenant = "x"'), ("bad.toml:1", "port ="),
                            ("'port'", "port = [1, 2]"), ("port", 'port = "x"'), ("port", "port = 70000"),
                            ("bad.toml:1: --threads: 'x' is not a number", 'threads = "x"'),
                            ("true or false", "metrics-open = 1"), ("unknown key 'network'", "[network]\nport = 1"),
                            ("'ctx'", "ctx = 2020-01-01")):
            self.assert_error(USAGE, words, "serve", MODEL, "--config", config(text))
        self.assert_error(NOT_FOUND, "none.toml", "serve", MODEL, "--config", self.folder / "none.toml")
        self.assert_error(USAGE, "no model", "serve")
        self.assert_error(USAGE, "two models", "serve", MODEL, "-m", MODEL)
        self.assert_error(USAGE, "--insecure-no-keys", "serve", MODEL, "--host", "0.0.0.0")
        self.assert_error(USAGE, "--tls-key", "serve", MODEL, "--tls-cert", "x")
        self.assert_error(USAGE, "cannot listen", "serve", MODEL, "--host", "no.such.host.invalid", "--insecure-no-keys")
        self.assert_error(USAGE, "keys:1", "serve", MODEL, "--api-keys", self.file("keys", b"alice sk-open"))
        self.assert_error(USAGE, "16 characters", "serve", "--hash-key", stdin=b"short\n")
        self.assert_error(USAGE, "+recent", "serve", MODEL, "--codec", "tok4+recent=1")
        self.assert_error(USAGE, "'all' stands alone", "serve", MODEL, "--request-policies", "all,quest")
        self.assert_error(USAGE, "'quest' instead of 'quest+keep=0.5'", "serve", MODEL, "--request-policies",
                          "quest+keep=0.5")
        self.assert_error(USAGE, "no token policy 'quets'", "serve", MODEL, "--request-policies", "quets")
        self.assert_error(UNSUPPORTED, "codec 'zip'", "serve", MODEL, "--codec", "zip", "--request-policies", "quest")


if __name__ == "__main__":
    unittest.main()

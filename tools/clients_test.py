#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that people have: the openai package, LangChain and curl, against `cairn serve`. CAIRN_BINARY names the binary.

The packages come from the Python registry into CAIRN_CLIENTS, a virtual environment that is kept; where the registry cannot be
reached their tests are skipped.
"""
import json
import os
import shutil
import subprocess
import unittest
import venv
from pathlib import Path

from cli_serve_test import KEY, LONG, Server
from cli_test import MODEL, ROOT, cairn

ENVIRONMENT = Path(os.environ.get("CAIRN_CLIENTS", ROOT / "build/clients"))
PACKAGES = ["openai>=2", "langchain-openai>=1"]


def python_with_clients():
    """The interpreter of an environment that has the packages; None and the reason where it cannot be made."""
    python = ENVIRONMENT / "bin/python"
    probe = [python, "-c", "import openai, langchain_openai"]
    if python.exists() and subprocess.run(probe, capture_output=True).returncode == 0:
        return python, ""
    try:
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return None, f"no virtual environment: {error}"
    try:
        done = subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--timeout", "10",
                               "--retries", "1", *PACKAGES], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return None, "the Python registry took more than two minutes"
    return (python, "") if done.returncode == 0 else (None, "no Python registry: " + done.stderr.strip()[-200:])


# Runs inside that environment; prints what it saw.
OPENAI = r"""
import json, sys, openai
url, key, prompt = sys.argv[1:]
client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0)
seen = {"models": [model.id for model in client.models.list()]}
model = seen["models"][0]
ask = dict(model=model, messages=[{"role": "user", "content": prompt}], max_tokens=8, temperature=0)
whole = client.chat.completions.create(**ask, logprobs=True, top_logprobs=3, seed=5)
again = client.chat.completions.create(**ask)
seen["text"], seen["again"] = whole.choices[0].message.content, again.choices[0].message.content
seen["cached"] = again.usage.prompt_tokens_details.cached_tokens
seen["logprobs"] = [[len(token.top_logprobs), token.logprob] for token in whole.choices[0].logprobs.content]
stream = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
seen["streamed"] = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
seen["stream_usage"] = stream[-1].usage.completion_tokens
seen["choices"] = len(client.completions.create(model=model, prompt="The", n=3, max_tokens=3, seed=1).choices)
seen["stopped"] = client.chat.completions.create(**ask, stop=[seen["text"][2:4]]).choices[0].finish_reason
errors = {}
def refused(name, **changed):
    try:
        client.chat.completions.create(**{**ask, **changed})
        errors[name] = None
    except openai.APIStatusError as error:
        errors[name] = [type(error).__name__, error.status_code, (error.body or {}).get("param")]
refused("tools", tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}])
refused("schema", response_format={"type": "json_object"})
refused("model", model="gpt-0")
refused("long", max_tokens=10 ** 6)
for name, call in (("embeddings", lambda c: c.embeddings.create(model=model, input="x")),
                   ("key", lambda c: c.with_options(api_key="sk-wrong").models.list())):
    try:
        call(client); errors[name] = None
    except openai.APIStatusError as error:
        errors[name] = [type(error).__name__, error.status_code, None]
seen["errors"] = errors
print(json.dumps(seen))
"""

LANGCHAIN = r"""
import json, sys
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
url, key, prompt = sys.argv[1:]
chat = ChatOpenAI(base_url=url + "/v1", api_key=key, model="default", temperature=0, max_tokens=8, max_retries=0)
history = [SystemMessage("You read."), HumanMessage(prompt)]
first = chat.invoke(history)
history += [AIMessage(first.content), HumanMessage("And again?")]
second = chat.invoke(history)
streamed = "".join(part.content for part in chat.stream(history))
print(json.dumps({"first": first.content, "second": second.content, "streamed": streamed,
                  "cached": second.usage_metadata["input_token_details"]["cache_read"]}))
"""


class Clients(Server):
    def setUp(self):
        super().setUp()
        digest = cairn("serve", "--hash-key", stdin=KEY.encode()).stdout.decode().strip()
        self.start(MODEL, "--served-name", "tiny", "--api-keys", self.file("keys", f"alice {digest}\n".encode()))
        self.url = f"http://127.0.0.1:{self.port}"

    def script(self, text):
        python, why = python_with_clients()
        if python is None:
            self.skipTest(why)
        done = subprocess.run([python, "-c", text, self.url, KEY, LONG], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_openai(self):
        seen = self.script(OPENAI)
        self.assertEqual(seen["models"], ["tiny"])
        self.assertEqual(seen["again"], seen["text"])
        self.assertEqual(seen["streamed"], seen["text"])
        self.assertGreater(seen["cached"], 0)
        self.assertEqual(len(seen["logprobs"]), seen["stream_usage"])
        for top, logprob in seen["logprobs"]:
            self.assertEqual(top, 3)
            self.assertLessEqual(logprob, 0)
        self.assertEqual(seen["choices"], 3)
        self.assertEqual(seen["stopped"], "stop")
        self.assertEqual(seen["errors"], {
            "tools": ["BadRequestError", 400, "tools"], "schema": ["BadRequestError", 400, "response_format"],
            "model": ["NotFoundError", 404, "model"], "long": ["BadRequestError", 400, None],
            "embeddings": ["InternalServerError", 501, None], "key": ["AuthenticationError", 401, None]})

    def test_langchain(self):
        seen = self.script(LANGCHAIN)
        self.assertTrue(seen["first"])
        self.assertEqual(seen["streamed"], seen["second"])
        self.assertGreater(seen["cached"], 0)

    def test_curl(self):
        if shutil.which("curl") is None:
            self.skipTest("no curl")
        def curl(*more):
            return subprocess.run(["curl", "-sS", "-N", "-H", f"Authorization: Bearer {KEY}", *more], capture_output=True,
                                  text=True, timeout=60, check=True).stdout
        body = json.dumps({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5, "temperature": 0})
        plain = json.loads(curl("--json", body, self.url + "/v1/chat/completions"))
        events = curl("--json", body[:-1] + ', "stream": true}', self.url + "/v1/chat/completions").split("\n\n")
        deltas = [json.loads(event[6:])["choices"][0]["delta"].get("content") or "" for event in events
                  if event.startswith("data: {")]
        self.assertEqual("".join(deltas), plain["choices"][0]["message"]["content"])
        self.assertIn("200", curl("-o", "/dev/null", "-w", "%{http_code}", self.url + "/metrics"))


if __name__ == "__main__":
    unittest.main()

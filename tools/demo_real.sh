#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A chat about a long document with a real model, through `cairn serve`: two questions, and what the cache saved.
# Usage: tools/demo_real.sh CAIRN [MODEL.gguf [DOCUMENT]]
#   Without MODEL, SmolLM2-135M-Instruct is fetched (tools/fetch_model.sh). In a terminal the server stays until Enter is
#   pressed, so that the page can be looked at.
#
# What is seen:
#   answer   by greedy decoding (temperature 0), so it is the same each time. 135 million parameters are few: the model reads
#            facts out of a text, and is easily confused by more.
#   prompt   tokens that the request consists of: the document, and all of the conversation so far
#   cached   how many of them the server knew, in blocks of 64: their keys and values were taken from the cache, not computed.
#            The answer has the same bits either way.
#   seconds  from the request to the end of its answer
#   why      what the server says of the request (GET /api/requests/ID)
set -eu
here=$(dirname "$0")
case "${1:-}" in
  "" | -h | --help) sed -n '3,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0"; [ -n "${1:-}" ] && exit 0 || exit 2 ;;
esac
cairn=$1
model=${2:-$("$here/fetch_model.sh")}
document=${3:-$here/../examples/harbour_report.txt}

. "$here/demo_server.sh"

echo "\$ cairn serve $model"
start_server "$cairn" serve "$model" --port 0
cat "$folder/line"

python3 - "$url" "$document" "$#" <<'PYTHON'
import json, sys, time, urllib.error, urllib.request
url, document, given = sys.argv[1], sys.argv[2], int(sys.argv[3])
turns = [("When was the harbour founded, and by whom?", "1684"), ("How high is the lighthouse?", "38")]
if given > 2:  # another document: nobody knows the answers
    turns = [("What is this text about?", ""), ("What does it say first?", "")]


def ask(path, body=None):
    request = urllib.request.Request(url + path, body and json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        return json.load(urllib.request.urlopen(request, timeout=600))
    except urllib.error.HTTPError as error:
        sys.exit("demo: " + json.load(error)["error"]["message"])


text = open(document, encoding="utf-8").read()
print(f"\nThe document: {document}, {len(text.split())} words. It is part of the first message of a chat:", flush=True)
messages, seconds = [], []
for number, (question, expected) in enumerate(turns):
    messages.append({"role": "user", "content": question if number else f"{text}\n\n{question}"})
    print(f"\nyou:     {'' if number else '[the document] '}{question}", flush=True)
    start = time.monotonic()
    done = ask("/v1/chat/completions", {"messages": messages, "max_tokens": 64, "temperature": 0})
    seconds.append(time.monotonic() - start)
    answer = done["choices"][0]["message"]["content"]
    messages.append({"role": "assistant", "content": answer})
    usage = done["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    print(f"answer:  {answer.strip()}\nprompt:  {usage['prompt_tokens']} tokens, {cached} of them cached\n"
          f"seconds: {seconds[-1]:.2f}\nwhy:     {ask('/api/requests/' + done['id'])['explanation']}", flush=True)
    if expected not in answer:
        sys.exit(f"demo: expected an answer with {expected}")
if cached < 64:
    sys.exit("demo: the second question found nothing in the cache")
print(f"\nThe document was computed once. The second question took {seconds[1]:.2f} s instead of {seconds[0]:.2f} s: only what was "
      "new was computed.")
PYTHON

echo
if [ -t 0 ] && [ -t 1 ]; then
  echo "The page: $url/ has a chat with this model, and shows what the cache holds. Enter ends the server."
  read -r _
else
  echo "The page was at $url/. Chat in a terminal: cairn run $model"
fi

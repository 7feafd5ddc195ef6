#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Starts the server, asks two questions about one document with curl, shows what the cache saved and the address of the page.
# Usage: tools/demo.sh CAIRN MODEL DOCUMENT
#   In a terminal the server stays until Enter is pressed, so that the page can be looked at.
set -eu
[ $# -eq 3 ] || { echo "usage: tools/demo.sh CAIRN MODEL DOCUMENT" >&2; exit 2; }
cairn=$1 model=$2 document=$3

. "$(dirname "$0")/demo_server.sh"

echo "\$ cairn serve $model --store DIR"
start_server "$cairn" serve "$model" --port 0 --store "$folder/store"
sed "s|$folder/store|DIR|" "$folder/line"

ask() { # QUESTION ANSWER CACHED: fails unless it is answered so with at least so many tokens from the cache
  python3 - "$document" "$1" >"$folder/body" <<'PYTHON'
import json, sys
text = open(sys.argv[1]).read()
print(json.dumps({"prompt": f"{text}\n\nQuestion: {sys.argv[2]}\nAnswer:", "max_tokens": 8, "temperature": 0, "stop": "\n"}))
PYTHON
  echo
  echo "\$ curl $url/v1/completions --json '{\"prompt\": \"... $1 ...\", \"max_tokens\": 8, \"temperature\": 0}'"
  curl -sS --max-time 60 "$url/v1/completions" --json @"$folder/body" >"$folder/answer"
  id=$(python3 - "$folder/answer" "$2" "$3" <<'PYTHON'
import json, sys
answer = json.load(open(sys.argv[1]))
if "error" in answer:
    sys.exit(answer["error"]["message"])
usage = answer["usage"]
print("answer: " + answer["choices"][0]["text"].strip(), file=sys.stderr)
print(f'usage:  {usage["prompt_tokens"]} tokens in the prompt, {usage["prompt_tokens_details"]["cached_tokens"]} of them cached', file=sys.stderr)
if sys.argv[2] not in answer["choices"][0]["text"] or usage["prompt_tokens_details"]["cached_tokens"] < int(sys.argv[3]):
    sys.exit(f"expected {sys.argv[2]} and at least {sys.argv[3]} cached tokens")
print(answer["id"])
PYTHON
  ) 2>&3
  curl -sS --max-time 60 "$url/api/requests/$id" |
    python3 -c 'import json, sys; print("why:    " + json.load(sys.stdin)["explanation"])'
}
exec 3>&1
echo "Document: $document"
ask "What is the code of river?" 5931 0
ask "What is the special magic number for Dublin?" 70562 512

echo
if [ -t 0 ] && [ -t 1 ]; then
  echo "The page: $url/ has a chat, and shows what the cache holds and why each request took as long. Enter ends the server."
  read -r _
else
  echo "The page was at $url/; 'cairn serve $model' serves it again."
fi

# SPDX-License-Identifier: Apache-2.0
# For demos, which source it: a folder that goes when the demo ends, and a server in the background that ends with it.
#   $folder           the folder
#   start_server ...  runs the command, `cairn serve` with a port of 0, until it says where it listens: that line is in
#                     $folder/line, the address in $url

folder=$(mktemp -d)
server=""
finish() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  [ -z "$server" ] || wait "$server" 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

start_server() {
  "$@" >"$folder/line" 2>"$folder/log" &
  server=$!
  tries=0
  until [ -s "$folder/line" ]; do
    kill -0 "$server" 2>/dev/null && [ $tries -lt 600 ] || { cat "$folder/log" >&2; exit 1; }
    tries=$((tries + 1))
    sleep 0.1
  done
  url=$(sed -n 's|.*\(http://[0-9.]*:[0-9]*\).*|\1|p' "$folder/line")
}

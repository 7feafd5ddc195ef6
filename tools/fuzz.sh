#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzzer of a build folder for a while, starting from the seeds of fuzz/corpus/<fuzzer>.
# Usage: tools/fuzz.sh BUILD_DIR SECONDS
set -eu
cd "$(dirname "$0")/.."
build=$1
seconds=$2
for fuzzer in "$build"/fuzz/fuzz_*; do
  [ -x "$fuzzer" ] && [ -f "$fuzzer" ] || continue
  name=$(basename "$fuzzer")
  grown=$build/corpus/$name
  mkdir -p "$grown"
  seeds=""
  [ ! -d "fuzz/corpus/$name" ] || seeds=fuzz/corpus/$name
  echo "== $name for $seconds s"
  "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$build/$name-" "$grown" $seeds
done

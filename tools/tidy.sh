#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clang-tidy 19 over the sources of a build folder. Usage: tools/tidy.sh BUILD_DIR [FILE...]
set -eu
cd "$(dirname "$0")/.."
build=$1
shift
if [ $# -eq 0 ]; then
  set -- $(git ls-files 'cairn/*.cc' 'apps/*.cc')
fi
printf '%s\n' "$@" | xargs -n 1 -P "$(nproc)" clang-tidy-19 -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option
